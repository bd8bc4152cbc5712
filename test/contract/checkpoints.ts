/**
 * The contract of `Checkpoints` (`src/application/ports/checkpoints.ts`). To test an adapter, call `checkpointsContract`.
 * If several connections can use one storage, also call `sharedCheckpointsContract`.
 */
import type { Checkpoint, Checkpoints } from '../../src/application/ports/checkpoints.ts';
import { atOnce, noon, tenantId } from './scenario.ts';
import type { ContractTest } from './test.ts';

/** Opens a storage without checkpoints, which is closed when the test ends. */
type OpenCheckpoints<Test> = (t: Test) => Promise<Checkpoints>;
/** Makes an empty storage and returns a function that connects to it. Storage and connections end with the test. */
type MakeCheckpoints<Test> = (t: Test) => () => Promise<Checkpoints>;

const acme = tenantId('acme');
const globex = tenantId('globex');

/** A checkpoint of 1,000 events. @param mark tells its bytes from those of others */
const checkpoint = (sequence: number, mark = sequence): Checkpoint => ({
  sequence,
  through: sequence * 1_000,
  digests: Buffer.alloc(16_000, mark),
  previous: sequence === 1 ? '' : `hash ${sequence - 1}`,
  ...(sequence > 1 && { erasureLog: { sequence: 7, chain: Buffer.alloc(32, mark).toString('base64url') } }),
  at: noon + sequence,
  signature: Buffer.alloc(64, mark),
});
/** In a form that compares alike, whatever class of byte arrays an adapter returns. */
const plain = ({ digests, signature, ...others }: Checkpoint) => ({
  ...others,
  digests: Buffer.from(digests).toString('hex'),
  signature: Buffer.from(signature).toString('hex'),
});

/** @param t gets one test for each clause of the contract, each over a storage without checkpoints */
export function checkpointsContract<Test extends ContractTest>(t: Test, open: OpenCheckpoints<Test>): void {
  const test = (clause: string, run: (t: Test, checkpoints: Checkpoints) => Promise<void>) =>
    t.test(clause, async (t: Test) => run(t, await open(t)));

  test('a tenant without checkpoints has none', async (t, checkpoints) => {
    t.equal(await checkpoints.last(acme), undefined);
    t.strictSame(await checkpoints.list(acme, 0, 10), []);
  });

  test('checkpoints are returned as stored, in pages by sequence', async (t, checkpoints) => {
    for (const sequence of [1, 2, 10, 3]) t.equal(await checkpoints.add(acme, checkpoint(sequence)), true);
    t.strictSame(plain((await checkpoints.last(acme)) as Checkpoint), plain(checkpoint(10)));
    const page = async (after: number, limit: number) => (await checkpoints.list(acme, after, limit)).map(plain);
    t.strictSame(
      await page(0, 2),
      [1, 2].map((sequence) => plain(checkpoint(sequence))),
    );
    t.strictSame(
      await page(2, 2),
      [3, 10].map((sequence) => plain(checkpoint(sequence))),
    );
    t.strictSame(await page(10, 2), []);
  });

  test('a sequence is taken once, and the first checkpoint stays', async (t, checkpoints) => {
    t.equal(await checkpoints.add(acme, checkpoint(1)), true);
    t.equal(await checkpoints.add(acme, checkpoint(1, 9)), false);
    t.strictSame((await checkpoints.list(acme, 0, 10)).map(plain), [plain(checkpoint(1))]);
  });

  test('tenants have checkpoints of their own', async (t, checkpoints) => {
    await checkpoints.add(acme, checkpoint(1));
    t.equal(await checkpoints.last(globex), undefined);
    t.equal(await checkpoints.add(globex, checkpoint(1, 9)), true);
    t.strictSame((await checkpoints.list(globex, 0, 10)).map(plain), [plain(checkpoint(1, 9))]);
  });

  test('of many that are added at once with one sequence, one is stored', (t, checkpoints) =>
    raceFor(t, async () => checkpoints));
}

/** The additional contract of a storage that several connections or processes use. */
export function sharedCheckpointsContract<Test extends ContractTest>(t: Test, make: MakeCheckpoints<Test>): void {
  t.test('of many connections that add one sequence at once, one succeeds', (t: Test) => raceFor(t, make(t)));
}

async function raceFor(t: ContractTest, connect: () => Promise<Checkpoints>): Promise<void> {
  const connections = await atOnce(5, connect);
  for (let sequence = 1; sequence <= 10; sequence += 1) {
    const added = await atOnce(5, (index) =>
      (connections[index] as Checkpoints).add(acme, checkpoint(sequence, index + 1)),
    );
    t.equal(added.filter((isStored) => isStored).length, 1, `sequence ${sequence}`);
    const winner = checkpoint(sequence, added.indexOf(true) + 1);
    t.strictSame(plain((await (connections[0] as Checkpoints).last(acme)) as Checkpoint), plain(winner));
  }
}
