/** The requests of one event-loop turn pass each phase together, and none delays another. */
import { setTimeout as delay } from 'node:timers/promises';
import Fastify from 'fastify';
import t, { type Test } from 'tap';
import { batchRequests } from '../../src/http/request-batching.ts';

/** A server that records the phases of its requests. */
function watched(t: Test) {
  const events: string[] = [];
  const app = Fastify();
  t.teardown(() => app.close());
  batchRequests(app);
  app.addHook('onResponse', async (request) => {
    events.push(`left ${request.url}`);
  });
  const handle = (url: string, answer: () => unknown) =>
    app.get(url, (request) => {
      events.push(`handled ${request.url}`);
      return answer();
    });
  handle('/at-once/:number', () => 'done');
  handle('/later', () => delay(50).then(() => 'done'));
  handle('/fails', () => {
    throw new Error('expected');
  });
  const ask = async (...urls: string[]) => {
    const answers = await Promise.all(urls.map((url) => app.inject(url)));
    return answers.map(({ statusCode }) => statusCode);
  };
  return { ask, events };
}

t.test('all requests of a turn are handled before the first answer is sent', async (t) => {
  const { ask, events } = watched(t);
  const urls = ['/at-once/1', '/at-once/2', '/at-once/3'];
  t.strictSame(await ask(...urls), [200, 200, 200]);
  t.strictSame(events, [...urls.map((url) => `handled ${url}`), ...urls.map((url) => `left ${url}`)]);
});

t.test('a slow or failing request delays no other', async (t) => {
  const { ask, events } = watched(t);
  t.strictSame(await ask('/later', '/fails', '/at-once/1'), [200, 500, 200]);
  t.strictSame(events.slice(3), ['left /fails', 'left /at-once/1', 'left /later']);
});

t.test('single requests are answered one after the other', async (t) => {
  const { ask, events } = watched(t);
  for (let turn = 0; turn < 3; turn += 1) t.strictSame(await ask('/at-once/1'), [200]);
  t.equal(events.length, 6);
});
