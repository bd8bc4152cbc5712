/**
 * The erasure log under random operations of several processes, crashes between any two transactions, backups and restores
 * of either store. `C2A_TEST_ERASURE_STEPS` sets the number of steps for each storage, `C2A_TEST_SEED` repeats a run.
 */
import t from 'tap';
import { newCounts, Run, Violation } from './support/model.ts';
import { places } from './support/places.ts';
import { randomFrom } from './support/random.ts';

const defaultSteps = { SQLite: 2_500, 'PostgreSQL, one database': 1_500, 'PostgreSQL, two databases': 1_500 };
const { C2A_TEST_SEED, C2A_TEST_ERASURE_STEPS } = process.env;
const firstSeed = C2A_TEST_SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(C2A_TEST_SEED);

for (const [name, newPlace] of Object.entries(places)) {
  t.test(name, { timeout: 0 }, async (t) => {
    const place = await newPlace(t);
    const steps = Number(C2A_TEST_ERASURE_STEPS ?? defaultSteps[name as keyof typeof places]);
    const counts = newCounts();
    for (let seed = firstSeed; counts.steps < steps; seed += 1) {
      const run = new Run({ place, random: randomFrom(seed), counts });
      try {
        await run.play();
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        t.fail(`${error.message} (C2A_TEST_SEED=${seed})`, { steps: run.trace.slice(-40) });
        break;
      }
    }
    t.comment(`seeds from ${firstSeed}: ${JSON.stringify(counts)}`);
    t.ok(counts.crashes > 0 && counts.restores > 0 && counts.acknowledged > 0 && counts.retries > 0);
  });
}
