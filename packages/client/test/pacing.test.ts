/** The client stays below the rate limit that the service tells it. */
import t from 'tap';
import { all, start, stateOf } from './support/service.ts';

/** A limit with windows of a second, told by the headers of every answer; above it 429. */
function limited(limit: number) {
  /** The requests of each window. */
  const counts: number[] = [];
  let endsAt = 0;
  let refused = 0;
  const limitedFetch = async (request: Request): Promise<Response> => {
    if (Date.now() >= endsAt) {
      endsAt = Date.now() + 1_000;
      counts.push(0);
    }
    const count = (counts.pop() ?? 0) + 1;
    counts.push(count);
    const told = {
      'ratelimit-limit': `${limit}`,
      'ratelimit-remaining': `${Math.max(0, limit - count)}`,
      'ratelimit-reset': '1',
    };
    if (count > limit) {
      refused += 1;
      const status = { messageCode: 'TOO_MANY_REQUESTS', message: 'Too many.' };
      return Response.json({ status }, { status: 429, headers: { ...told, 'retry-after': '1', 'x-request-id': 'r' } });
    }
    const answer = await fetch(request);
    return new Response(answer.body, {
      status: answer.status,
      headers: { ...Object.fromEntries(answer.headers), ...told },
    });
  };
  return { limitedFetch, counts, refused: () => refused };
}

t.test('requests wait for the next window', async (t) => {
  const { clientOf, service } = await start(t);
  const limit = limited(10);
  const c2a = clientOf(service.credentials, { fetch: limit.limitedFetch });
  const left = Array.from({ length: 25 }, (_, index) => `a-${index}`);
  const worker = async () => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) {
      t.equal((await c2a.store(stateOf(id))).messageCode, 'SUCCESS');
    }
  };
  const began = performance.now();
  await Promise.all([worker(), worker(), worker()]);
  t.ok(performance.now() - began > 1_500, 'two windows were waited for');
  t.equal(limit.refused(), 0);
  t.equal(limit.counts.length, 3, limit.counts.join());
  t.equal((await all(c2a.export())).length, 25);
});

t.test('of many requests at once, those above the limit come later', async (t) => {
  const { clientOf, service } = await start(t);
  const limit = limited(20);
  const c2a = clientOf(service.credentials, { fetch: limit.limitedFetch });
  // The first window is not known yet, so some are refused; after that none is.
  const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => c2a.store(stateOf(`b-${index}`))));
  t.ok(answers.every(({ messageCode }) => messageCode === 'SUCCESS'));
  t.equal(limit.refused(), 30);
});

t.test('headers that make no sense are ignored', async (t) => {
  const { clientOf, service } = await start(t);
  const odd = [
    { limit: '100, 100;w=60', remaining: '99', reset: '1' },
    { limit: '0', remaining: '0', reset: '1' },
    { limit: '10', remaining: '-1', reset: '30' },
    { limit: '10', remaining: 'many', reset: '30' },
    { limit: '10', remaining: '0', reset: 'soon' },
    { limit: '10', remaining: '0', reset: '1796092979' },
    { limit: '10', remaining: '0' },
  ];
  for (const told of odd) {
    const headers = Object.entries(told).map(([name, value]): [string, string] => [`ratelimit-${name}`, value]);
    const c2a = clientOf(service.credentials, {
      fetch: async (request) => {
        const answer = await fetch(request);
        return new Response(answer.body, { status: answer.status, headers: [...answer.headers, ...headers] });
      },
    });
    const signal = AbortSignal.timeout(2_000);
    for (let count = 0; count < 3; count += 1) {
      t.equal((await c2a.info({ exId: 'a' }, { signal })).messageCode, 'CUSTOMER_NOT_FOUND', JSON.stringify(told));
    }
  }
});

t.test('the time limit of an attempt begins after the wait', async (t) => {
  const { clientOf, service } = await start(t);
  let attempts = 0;
  const { limitedFetch } = limited(1);
  const c2a = clientOf(service.credentials, {
    attemptTimeoutMs: 200,
    fetch: (request) => {
      attempts += 1;
      return limitedFetch(request);
    },
  });
  await c2a.store(stateOf('a'));
  t.equal((await c2a.info({ exId: 'a' })).messageCode, 'SUCCESS');
  t.equal(attempts, 2);
});

t.test('a wait can be aborted', async (t) => {
  const { clientOf, service } = await start(t);
  const c2a = clientOf(service.credentials, { fetch: limited(1).limitedFetch });
  await c2a.store(stateOf('c'));
  const signal = AbortSignal.timeout(50);
  await t.rejects(c2a.info({ exId: 'c' }, { signal }), { name: 'TimeoutError' });
});

t.test('the headers of the service are understood', async (t) => {
  const { c2a, seen } = await start(t, {}, { rateLimit: 3 });
  for (const id of ['d', 'e', 'f']) await c2a.store(stateOf(id));
  // The window of the service lasts a minute.
  await t.rejects(c2a.info({ exId: 'd' }, { signal: AbortSignal.timeout(300) }), { name: 'TimeoutError' });
  t.equal(seen.length, 3, 'the fourth was not sent');
});
