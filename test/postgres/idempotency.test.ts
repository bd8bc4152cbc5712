/** One Idempotency-Key on different requests to two processes at once: one succeeds, the other is 422, whatever they write. */
import t from 'tap';
import { newPlaces } from '../support/postgres.ts';
import { atOnce, connectPostgres, idempotencyKey, noon, tally, tenantOf } from '../support/storage.ts';

for (const [name, newPlace] of Object.entries(newPlaces)) {
  t.test(name, async (t) => {
    const place = await newPlace(t);
    const [one, other] = [await connectPostgres(t, place), await connectPostgres(t, place)].map(({ repository }) =>
      tenantOf(repository),
    ) as [ReturnType<typeof tenantOf>, ReturnType<typeof tenantOf>];
    const outcomes: Record<string, number> = {};
    for (let round = 0; round < 40; round += 1) {
      const key = (request: string) => ({ key: idempotencyKey(`k${round}`, request, noon + 1_000) });
      const { by } = await one.mustStore(`erased-${round}`);
      const erase = () => one.erase(by, key('erase'));
      const write =
        round % 2
          ? () => other.store(`stored-${round}`, {}, key('store'))
          : async () => {
              const { by: updated } = await other.mustStore(`updated-${round}`);
              return other.update(updated, () => ({ leave: 'SUCCESS' }), key('update'));
            };
      const results = await Promise.all([erase(), write()]);
      for (const [code, count] of Object.entries(tally(results))) outcomes[code] = (outcomes[code] ?? 0) + count;
      t.equal((await erase()).code, results[0].code, 'a retry gets the same answer');
    }
    t.same(outcomes, { SUCCESS: 40, IDEMPOTENCY_KEY_REUSED: 40 });
    const later = await atOnce(60, (index) => (index % 2 ? one : other).store(`later-${index}`));
    t.same(tally(later), { SUCCESS: 60 }, 'the ids of refused stores are usable');
  });
}
