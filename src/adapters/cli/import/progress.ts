import { SingleBar } from 'cli-progress';

/** How far an import is. */
export interface ImportState {
  readonly rows: number;
  readonly refused: number;
  readonly bytesRead: number;
}

/** The interval of the lines where there is no terminal. */
const lineIntervalMs = 5_000;

/**
 * Shows the progress of an import: on a terminal a line that changes, with a bar and the time left if the size is known;
 * elsewhere a line every 5 seconds.
 *
 * @param bytes the size of the file; undefined if it is not known
 * @param stream where to write
 */
export function showProgress(
  state: () => ImportState,
  bytes: number | undefined,
  stream: NodeJS.WriteStream = process.stderr,
): { stop(): void } {
  const began = performance.now();
  const text = () => {
    const { rows, refused } = state();
    const perSecond = Math.round(rows / Math.max((performance.now() - began) / 1000, 0.001));
    return `${rows} rows  ${perSecond} rows/s  ${refused} refused`;
  };
  if (!stream.isTTY) {
    const timer = setInterval(() => stream.write(`c2a: ${text()}\n`), lineIntervalMs);
    return { stop: () => clearInterval(timer) };
  }
  const bar = new SingleBar({
    format: bytes === undefined ? '{text}' : '[{bar}] {percentage} %  {text}  {eta_formatted} left',
    barsize: 20,
    stream,
    hideCursor: true,
    // The command ends the import itself.
    gracefulExit: false,
  });
  const update = () => bar.update(state().bytesRead, { text: text() });
  bar.start(bytes ?? 0, 0, { text: text() });
  const timer = setInterval(update, 200);
  return {
    stop() {
      clearInterval(timer);
      update();
      bar.stop();
    },
  };
}
