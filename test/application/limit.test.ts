import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { Limit } from '../../src/application/limit.ts';

t.test(
  'tasks run in the order of their calls, at most so many at once, and a failed one frees its place',
  async (t) => {
    const limit = new Limit(3);
    const began: number[] = [];
    let running = 0;
    let most = 0;
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) =>
        limit.run(async () => {
          began.push(index);
          running += 1;
          most = Math.max(most, running);
          await delay(1);
          running -= 1;
          if (index % 4 === 0) throw new Error(`task ${index}`);
          return index;
        }),
      ),
    );
    t.equal(most, 3);
    t.same(
      began,
      Array.from({ length: 20 }, (_, index) => index),
    );
    t.same(
      results.map(({ status }) => status),
      Array.from({ length: 20 }, (_, index) => (index % 4 === 0 ? 'rejected' : 'fulfilled')),
    );
    t.equal(await limit.run(async () => 'free'), 'free');
  },
);
