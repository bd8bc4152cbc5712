/**
 * The contract of `Leases` (`src/application/ports/leases.ts`). To test an adapter, call `leasesContract`. If several
 * connections can use one storage, also call `sharedLeasesContract`.
 */
import type { Leases } from '../../src/application/ports/leases.ts';
import { atOnce, noon } from './scenario.ts';
import type { ContractTest } from './test.ts';

/** Opens a storage without leases, which is closed when the test ends. */
export type OpenLeases<Test> = (t: Test) => Promise<Leases>;
/** Makes an empty storage and returns a function that connects to it. Storage and connections end with the test. */
export type MakeLeases<Test> = (t: Test) => () => Promise<Leases>;

const minute = 60_000;

/** @param t gets one test for each clause of the contract, each over a storage without leases */
export function leasesContract<Test extends ContractTest>(t: Test, open: OpenLeases<Test>): void {
  const test = (clause: string, run: (t: Test, leases: Leases) => Promise<void>) =>
    t.test(clause, async (t: Test) => run(t, await open(t)));

  test('one holder has a lease until it expires, then another may take it', async (t, leases) => {
    const ask = (holder: string, now: number) => leases.acquire('jobs', holder, minute, now);
    t.equal(await ask('one', noon), true);
    t.equal(await ask('other', noon), false);
    t.equal(await ask('other', noon + minute - 1), false);
    t.equal(await ask('other', noon + minute), true);
    t.equal(await ask('one', noon + minute), false, 'it was taken over');
  });

  test('a holder renews its lease once less than half of it is left', async (t, leases) => {
    const ask = (holder: string, now: number) => leases.acquire('jobs', holder, minute, now);
    await ask('one', noon);
    t.equal(await ask('one', noon + minute / 2), true);
    t.equal(await ask('other', noon + minute), true, 'half of it was left: not renewed');

    t.equal(await ask('other', noon + 1.5 * minute + 1), true);
    t.equal(await ask('one', noon + 2.5 * minute), false, 'renewed');
    t.equal(await ask('one', noon + 2.5 * minute + 1), true, 'for the whole duration from the renewal');
  });

  test('a lease that a wrong clock took for the future is free', async (t, leases) => {
    const ask = (holder: string, now: number) => leases.acquire('jobs', holder, minute, now);
    await ask('one', noon + 1_000 * minute);
    t.equal(await ask('other', noon), true);
    t.equal(await ask('one', noon + 1), false, 'the clock of the holder was set right');
  });

  test('leases of different names are independent', async (t, leases) => {
    t.equal(await leases.acquire('jobs', 'one', minute, noon), true);
    t.equal(await leases.acquire('deliveries', 'other', minute, noon), true);
    t.equal(await leases.acquire('deliveries', 'one', minute, noon), false);
  });

  test('a holder may release its lease, and no other holder may', async (t, leases) => {
    await leases.release('jobs', 'one');
    await leases.acquire('jobs', 'one', minute, noon);
    await leases.release('jobs', 'other');
    t.equal(await leases.acquire('jobs', 'other', minute, noon), false);
    await leases.release('jobs', 'one');
    t.equal(await leases.acquire('jobs', 'other', minute, noon), true);
  });

  test('of many holders that ask at once, one gets the lease', (t, leases) => raceFor(t, async () => leases));
}

/** The additional contract of a storage that several connections or processes use. */
export function sharedLeasesContract<Test extends ContractTest>(t: Test, make: MakeLeases<Test>): void {
  t.test('of many connections that ask at once, one gets the lease', (t: Test) => raceFor(t, make(t)));
}

/** Lets ten holders ask for a new lease and, whenever it has expired, for the expired one. */
async function raceFor(t: ContractTest, connect: () => Promise<Leases>): Promise<void> {
  const holders = await atOnce(10, connect);
  for (let round = 0; round < 20; round += 1) {
    const now = noon + round * minute;
    const ask = () =>
      atOnce(holders.length, (index) => (holders[index] as Leases).acquire('jobs', `holder ${index}`, minute, now));
    const answers = await ask();
    t.equal(answers.filter((isHolder) => isHolder).length, 1, `round ${round}`);
    t.strictSame(await ask(), answers, 'it stays with its holder');
  }
}
