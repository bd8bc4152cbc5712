/** What `import` shows while it runs, on a terminal. */
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { showProgress } from '../../../../src/adapters/cli/import/progress.ts';

/** A terminal that keeps what it is sent. */
function terminal() {
  let text = '';
  const stream = new Writable({
    write(chunk, _, done) {
      text += chunk;
      done();
    },
  });
  return {
    stream: Object.assign(stream, { isTTY: true, columns: 120 }) as unknown as NodeJS.WriteStream,
    text: () => text,
  };
}

t.test('a bar with rows, rows per second, refused rows and the time left', async (t) => {
  const { stream, text } = terminal();
  const state = { rows: 0, refused: 0, bytesRead: 0 };
  const progress = showProgress(() => state, 1000, stream);
  Object.assign(state, { rows: 20, refused: 3, bytesRead: 500 });
  await sleep(500);
  progress.stop();
  t.match(text(), /\[=+-+\] 50 % {2}20 rows {2}\d+ rows\/s {2}3 refused {2}\S+ left/);
  const length = text().length;
  await sleep(300);
  t.equal(text().length, length, 'nothing is written after the end');
});

t.test('without a size, the rows only', async (t) => {
  const { stream, text } = terminal();
  const progress = showProgress(() => ({ rows: 7, refused: 1, bytesRead: 70 }), undefined, stream);
  progress.stop();
  t.match(text(), /7 rows {2}\d+ rows\/s {2}1 refused/);
  t.notMatch(text(), /%|left/);
});
