/** When a failed delivery is tried again. */
import t from 'tap';
import { nextAttempt, parseRetryAfter } from '../../src/domain/webhooks.ts';

const seconds = (count: number) => count * 1_000;
const minutes = (count: number) => seconds(60 * count);
const hours = (count: number) => minutes(60 * count);
const days = (count: number) => hours(24 * count);

t.test('the schedule is that of the Standard Webhooks specification', async (t) => {
  const waits = Array.from({ length: 12 }, (_, index) =>
    nextAttempt({ firstFailureAt: 0, failures: index + 1 }, 0, undefined, 0),
  );
  const expected = [...[seconds(5), minutes(5), minutes(30)], ...[2, 5, 10, 14, 20, 24, 24, 24, 24].map(hours)];
  t.same(waits, expected);
});

t.test('a wait is up to a tenth longer, at random', async (t) => {
  t.equal(nextAttempt({ firstFailureAt: 0, failures: 1 }, 100, undefined, 1), 100 + seconds(5.5));
  t.equal(nextAttempt({ firstFailureAt: 0, failures: 6 }, 100, undefined, 0.5), 100 + hours(10.5));
});

t.test('the last attempt is ten days after the first failure; then the endpoint is disabled', async (t) => {
  let now = 1_000;
  const attempts: number[] = [];
  for (let failures = 1; ; failures += 1) {
    attempts.push(now);
    const next = nextAttempt({ firstFailureAt: 1_000, failures }, now, undefined, 0.3);
    if (next === undefined) break;
    t.ok(next > now);
    now = next;
  }
  t.equal(attempts.at(-1), 1_000 + days(10));
  t.equal(attempts.length, 17);
});

t.test('Retry-After counts if it is later than the schedule, up to 24 hours', async (t) => {
  const next = (failures: number, retryAfterMs: number) =>
    nextAttempt({ firstFailureAt: 0, failures }, 0, retryAfterMs, 0);
  t.equal(next(1, seconds(4)), seconds(5));
  t.equal(next(1, minutes(7)), minutes(7));
  t.equal(next(1, days(3)), days(1));
  t.equal(nextAttempt({ firstFailureAt: 0, failures: 15 }, days(9.9), days(1), 0), days(10), 'not after the end');
});

t.test('Retry-After in seconds and as a date', async (t) => {
  const now = Date.parse('2026-01-15T12:00:00.000Z');
  const cases: [string, number | undefined][] = [
    ['0', 0],
    ['120', seconds(120)],
    ['Thu, 15 Jan 2026 12:02:00 GMT', minutes(2)],
    ['Thursday, 15-Jan-26 12:02:00 GMT', minutes(2)],
    ['Thu, 15 Jan 2026 11:00:00 GMT', 0],
    ...['', '-1', '1.5', 'soon', '1e9', '99999999999', '2026-01-15T12:02:00Z', 'soon GMT'].map(
      (text): [string, undefined] => [text, undefined],
    ),
  ];
  for (const [text, expected] of cases) t.equal(parseRetryAfter(text, now), expected, text);
});
