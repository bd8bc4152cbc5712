/** A file whose rows, together, leave a valid state is applied as a whole, whatever the order of its rows. */
import fc from 'fast-check';
import t from 'tap';
import { storing } from '../../support/client.ts';
import { startService } from '../../support/service.ts';

/** Who has which e-mail address and phone number, by index; none: undefined. */
interface Holder {
  readonly email?: number | undefined;
  readonly phone?: number | undefined;
}

const rowOf = (index: number, { email, phone }: Holder) =>
  storing({
    externalIdentifier: `crm-${index}`,
    ...(email !== undefined && { email: `p${email}@example.com` }),
    ...(phone !== undefined && { phoneNumber: `+4930${1_000_000 + phone}` }),
  });

/** The customers by index; undefined: there is none. */
type State = readonly (Holder | undefined)[];

interface Case {
  readonly before: State;
  readonly after: State;
  /** The indexes of the customers in the order of the rows. */
  readonly order: readonly number[];
}

/** States in which every value has one holder at most. */
const states = (size: number, values: number) => {
  const each = Array.from({ length: values }, (_, index) => (index < size ? index : undefined));
  const assigned = fc.shuffledSubarray(each, { minLength: size, maxLength: size });
  const state = fc
    .record({
      emails: assigned,
      phones: assigned,
      present: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: size, maxLength: size }),
    })
    .map(({ emails, phones, present }) =>
      present.map((is, index): Holder | undefined =>
        is === 0 ? undefined : { email: emails[index], phone: phones[index] },
      ),
    );
  return fc.record({
    before: state,
    after: state,
    order: fc.shuffledSubarray([...Array(size).keys()], { minLength: size }),
  });
};

type Fields = Readonly<Record<string, unknown>>;
const byId = (one: Fields, other: Fields) =>
  String(one.externalIdentifier).localeCompare(String(other.externalIdentifier));

for (const storage of ['memory', 'sqlite'] as const) {
  t.test(storage, async (t) => {
    const service = await startService(t, { storage, ...(storage === 'sqlite' && { dataDir: t.testdir({}) }) });
    let made = 0;
    const check = async ({ before, after, order }: Case) => {
      made += 1;
      const { import: importing, export: exporting } = await service.tenant(`tenant-${made}`);
      await importing(before.flatMap((holder, index) => (holder === undefined ? [] : [rowOf(index, holder)])));
      const rows = order.map((index) => {
        const holder = after[index];
        return holder === undefined ? { delete: { externalIdentifier: `crm-${index}` } } : rowOf(index, holder);
      });
      const { body } = await importing(rows);
      t.match(body.at(-1), { summary: { refused: 0 }, status: { messageCode: 'SUCCESS' } });
      t.equal(new Set(body.slice(0, -1).map(({ line }: { line: number }) => line)).size, rows.length);
      const shown = (await exporting()).body.slice(0, -1) as Fields[];
      const expected = after.flatMap((holder, index) => (holder === undefined ? [] : [rowOf(index, holder).customer]));
      t.match(shown.sort(byId), (expected as Fields[]).sort(byId));
    };
    await fc.assert(fc.asyncProperty(states(8, 10), check), { numRuns: 60 });
    await fc.assert(fc.asyncProperty(states(700, 760), check), { numRuns: 3 });
  });
}
