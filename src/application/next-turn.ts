/** Lets the event loop turn, so that other requests are served. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(() => resolve()));
