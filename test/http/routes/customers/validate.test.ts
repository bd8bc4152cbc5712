/** C2A-01-01 `POST /validate`. */
import { storing } from '../../../support/client.ts';
import { eachStorage, refusedFor } from '../../../support/service.ts';

eachStorage((start, t) => {
  t.test('tells whether an ExternalId is free, and reserves nothing', async (t) => {
    const { post } = await start(t);
    const available = { isAvailable: true, status: { messageCode: 'SUCCESS' } };
    t.same((await post('validate', { externalId: 'crm-1' })).body, available);
    t.same((await post('validate', { externalId: 'crm-1' })).body, available);

    await post('store', storing({ externalIdentifier: 'crm-1' }));
    t.same((await post('validate', { externalId: 'crm-1' })).body, { ...available, isAvailable: false });
    t.same((await post('validate', { externalId: ' crm-1 ' })).body, { ...available, isAvailable: false }, 'trimmed');
    t.same((await post('validate', { externalId: 'CRM-1' })).body, available, 'compared byte for byte');
  });

  t.test('refuses an invalid ExternalId, with the status alone', async (t) => {
    const { post } = await start(t);
    const cases: [body: object, ...violations: string[]][] = [
      [{}, 'externalId: required'],
      [{ externalId: null }, 'externalId: required'],
      [{ externalId: '  ' }, 'externalId: required'],
      [{ externalId: 5 }, 'externalId: invalid_type'],
      [{ externalId: 'x'.repeat(129) }, 'externalId: too_long'],
      [{ externalId: 'cu.00.1' }, 'externalId: reserved'],
      [{ externalId: 'a\u0000b' }, 'externalId: invalid_format'],
      [{ externalID: 'x' }, 'externalID: unknown_field', 'externalId: required'],
    ];
    for (const [body, ...violations] of cases) {
      const answer = await post('validate', body);
      refusedFor(t, answer, violations);
      t.same(Object.keys(answer.body as object), ['status']);
    }
  });
});
