/** A value or a promise of it; avoids a promise on cache hits. */
export type MaybePromise<Value> = Value | Promise<Value>;

/** Applies `next` to the value: immediately, or when its promise resolves. */
export const andThen = <Value, Result>(
  value: MaybePromise<Value>,
  next: (value: Value) => Result,
): MaybePromise<Awaited<Result>> =>
  (isPromise(value) ? value.then(next) : next(value)) as MaybePromise<Awaited<Result>>;

/** Accepts any thenable, because a repository of another project may return promises of another library. */
const isPromise = <Value>(value: MaybePromise<Value>): value is Promise<Value> =>
  typeof (value as Promise<Value> | undefined | null)?.then === 'function';
