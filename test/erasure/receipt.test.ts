/** Receipts of erasures, which anyone can verify without the deployment, and exports of everything held about a customer. */
import { writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { verifyReceipt } from '../../src/adapters/cli/privacy-reports.ts';
import { ephemeralVault, type Vault } from '../../src/adapters/crypto/vault.ts';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { deployment } from '../support/deployment.ts';
import { c2a } from '../support/process.ts';
import { withRawSqlite } from '../support/storage.ts';

const jane = {
  externalIdentifier: 'crm-1',
  email: 'jane@example.com',
  firstName: 'Jane',
  primaryBillingAddress: { street: 'Hauptstraße 1', countryCode: 'DE' },
};

/** Checks a receipt as `verify-receipt` does: what it certifies, or the message of the refusal. */
async function verify(file: string, receipt: unknown, publicKey: string | undefined): Promise<unknown> {
  writeFileSync(file, typeof receipt === 'string' ? receipt : JSON.stringify(receipt));
  return verifyReceipt(file, publicKey).catch((error: Error) => error.message);
}

/** A receipt that is signed with another key. */
function signedBy(vault: Vault, receipt: object): object {
  const value = vault.sign(JSON.stringify(receipt)).toString('base64url');
  return { receipt, signature: { algorithm: 'Ed25519', publicKey: vault.publicKey.toString('base64url'), value } };
}

/** A deployment with a server, in which Jane was erased and Joan was not. */
async function erasedJane(t: Test) {
  const { serve, command, ...rest } = deployment(t);
  const server = await serve();
  const joan = await server.has({ externalIdentifier: 'crm-2', firstName: 'Joan' });
  const urn = await server.has(jane);
  await server.forget(urn);

  return { ...rest, serve, command, server, urn, joan };
}

t.test('a receipt names the customer, time and actor, the anonymized fields, and that nothing is left', async (t) => {
  const { server, urn, command } = await erasedJane(t);
  const [{ id: keyId }] = (await command('key', 'list')).value;
  const { status, body } = await server.receipt(urn);
  t.equal(status, 200);
  const { receipt, signature } = body.result;
  t.match(receipt, {
    receiptVersion: 1,
    tenant: 'acme',
    customerUrn: urn,
    erasedAt: /^\d{4}-.*Z$/,
    keyId,
    requestId: /./,
    rewritten: ['externalIdentifier', 'email', 'firstName', 'primaryBillingAddress'],
    dataKeyDestroyed: true,
    residualScan: { clean: true },
  });
  t.ok(receipt.residualScan.findings.length > 0);
  t.ok(receipt.residualScan.findings.every(({ found }: { found: number }) => found === 0));
  t.ok(receipt.kept.length > 0);
  t.ok(receipt.kept.every(({ ground }: { ground: string }) => ground.includes('GDPR')));
  t.notMatch(JSON.stringify(body), /jane|Hauptstra/i);

  const { publicKey } = (await server.get('/.well-known/c2a-receipts')).body;
  t.equal(signature.publicKey, publicKey, 'the key is the one that the deployment publishes');
});

t.test('a receipt verifies as the API returned it and as the command printed it, and with no change', async (t) => {
  const { server, urn, joan, command, serve, beside } = await erasedJane(t);
  const file = beside('receipt.json');
  const overHttp = (await server.receipt(urn)).body;
  const printed = (await command('erasure-receipt', urn, '--tenant', 'acme')).value;
  const { receipt, signature } = printed;
  const { publicKey } = signature;
  for (const genuine of [overHttp, overHttp.result, printed, JSON.stringify(printed, null, 2)]) {
    const said = { valid: true, publicKey, tenant: 'acme', customerUrn: urn, clean: true };
    t.match(await verify(file, genuine, publicKey), said);
  }
  t.match(await verify(file, printed, undefined), /--public-key is required/, 'whose it is, it cannot say itself');
  t.match(await command('verify-receipt', file).then(({ code }) => code), 2, 'it takes no data folder');
  t.equal((await c2a(['verify-receipt', file, '--public-key', publicKey])).code, 0);

  const other = Buffer.from(ephemeralVault().publicKey).toString('base64url');
  const forged: Record<string, unknown> = {
    'another customer': { receipt: { ...receipt, customerUrn: 'cu.00.1' }, signature },
    'another time': { receipt: { ...receipt, erasedAt: '2020-01-01T00:00:00.000Z' }, signature },
    'a field more': { receipt: { ...receipt, more: 1 }, signature },
    'another order': { receipt: Object.fromEntries(Object.entries(receipt).reverse()), signature },
    'another signature': { receipt, signature: { ...signature, value: overHttp.result.signature.value } },
    'no signature at all': { receipt, signature: { ...signature, value: '' } },
    'signed by another': signedBy(ephemeralVault(), { ...receipt, customerUrn: joan }),
  };
  for (const [name, receipt] of Object.entries(forged)) {
    t.match(await verify(file, receipt, publicKey), /the receipt was altered/, name);
  }
  t.match(await verify(file, printed, other), /signed by another key/, 'not of the deployment that was expected');
  // In base64url a key may begin with a dash.
  for (const key of [other, `-A${other.slice(2)}`]) {
    t.equal((await c2a(['verify-receipt', file, '--public-key', key])).code, 1);
  }
  const signedOnly = '{"receipt":{},"signature":{"value":"x"}}';
  for (const text of ['', 'hello', '{}', 'null', '{"receipt":{},"signature":{}}', signedOnly]) {
    t.match(await verify(file, text, publicKey), /is not a receipt/, `${text} is none`);
  }

  t.equal((await command('keys', 'rotate-master')).code, 0);
  await server.stop();
  const restarted = await serve();
  t.equal((await restarted.receipt(urn)).body.result.signature.publicKey, publicKey);
  t.match(await verify(file, printed, publicKey), { valid: true }, 'after a restart and a rotation too');
});

t.test('there is no receipt of a customer that was not erased, nor for another tenant', async (t) => {
  const { server, urn, joan, command } = await erasedJane(t);
  await command('tenant', 'add', 'other');
  const { key } = (await command('key', 'issue', 'other')).value;
  const asOther = { 'x-tn': 'other', 'x-api-key': key };
  const path = `/api/c2a/customer/erasure?urn=`;
  t.match(await server.receipt(joan), { status: 404, body: { status: { messageCode: 'ERASURE_NOT_FOUND' } } });
  t.equal((await server.receipt('cu.00.999')).status, 404);
  t.equal((await server.receipt('nonsense')).status, 400);
  t.equal((await server.get(path + urn, asOther)).status, 404);
  t.equal((await server.get(path + urn, { 'x-api-key': 'wrong' })).status, 401);
  const commands: [words: string[], code: number, stderr: RegExp][] = [
    [[joan, '--tenant', 'acme'], 1, /was erased under/],
    [[urn, '--tenant', 'other'], 1, /was erased under/],
    [['cu.nonsense', '--tenant', 'acme'], 2, /<customer> must be a CustomerUrn such as cu\.00\.482, or an ExternalId/],
    [['x'.repeat(129), '--tenant', 'acme'], 2, /<customer> must be .* an ExternalId of 1 to 128 characters/],
    [[urn], 2, /--tenant is required/],
  ];
  await Promise.all(
    commands.map(async ([words, code, stderr]) =>
      t.match(await command('erasure-receipt', ...words), { code, stderr }, words.join(' ')),
    ),
  );
});

t.test('commands take the ExternalId of a customer, and of an anonymized record', async (t) => {
  const { urn, joan, command } = await erasedJane(t);
  const at = ['--tenant', 'acme'];
  const receipt = (name: string) => command('erasure-receipt', name, ...at);
  const exported = (name: string) => command('subject-export', name, ...at);

  t.match((await exported('crm-2')).value, { record: { customerUrn: joan, firstName: 'Joan' } });
  t.match((await exported(' crm-2 ')).value, { record: { customerUrn: joan } }, 'trimmed, as by the API');
  t.match((await exported(`anonymized-${urn}`)).value, { record: { customerUrn: urn, status: 'Anonymized' } });
  t.match((await receipt(`anonymized-${urn}`)).value, { receipt: { customerUrn: urn } });

  const erased = /an erasure also erases the ExternalId: name an erased customer by its CustomerUrn$/m;
  const notErased = await receipt('crm-2');
  t.match(notErased, { code: 1, stderr: erased });
  t.match(notErased.stderr, `the customer of acme with this ExternalId, ${joan}, was not erased`);
  for (const run of [receipt, exported]) {
    for (const name of ['crm-1', 'anonymized-jane']) {
      const { code, stderr } = await run(name);
      t.equal(code, 1);
      t.match(stderr, /c2a: no customer of acme has this ExternalId; /);
      t.match(stderr, erased);
      t.notMatch(stderr, name, 'an ExternalId may be personal data');
    }
  }
});

t.test('an export contains everything held about a customer, and after its erasure the retained fields', async (t) => {
  const { serve, command } = deployment(t);
  const server = await serve();
  const { body } = await server.post(
    'store',
    { customer: jane, claimedRegion: { countryCode: 'DE', languageCode: 'de' } },
    { 'idempotency-key': 'k-1', 'x-request-id': 'first-request' },
  );
  const record = body.result;
  const exported = () => command('subject-export', record.customerUrn, '--tenant', 'acme');

  const before = await exported();
  t.equal(before.code, 0);
  t.same(before.value.record, record);
  t.match(before.value, {
    tenant: 'acme',
    provenance: {
      firstReceivedAt: record.createdAt,
      lastChangedAt: record.updatedAt,
      version: 1,
      storedBy: { keyId: /^\w{12}$/, requestId: 'first-request' },
    },
    derived: [/digests/, /data key/, /digests/],
    idempotencyRecords: [{ code: 'SUCCESS', keptUntil: String }],
  });
  t.notOk('erasure' in before.value);

  const { exportedAt: _, ...ofCommand } = before.value;
  const overHttp = await server.post('subject-export', { customerUrn: record.customerUrn });
  const { exportedAt, ...ofApi } = overHttp.body.result;
  t.same(ofApi, ofCommand, 'the API returns the same as the command prints');
  t.match(exportedAt, /^\d{4}-.*Z$/);

  t.same(before.value.copies, []);
  t.match(before.value.unseen, [/gaps/, /copies/]);

  await server.forget(record.customerUrn);
  const after = await exported();
  t.match(after.value, {
    record: { status: 'Anonymized' },
    derived: [],
    erasure: { erasedAt: String, keyId: String, rewritten: ['externalIdentifier', 'email'] },
  });
  t.notMatch(JSON.stringify(after.value), /jane|Hauptstra/i);
  t.equal((await command('subject-export', 'cu.00.999', '--tenant', 'acme')).code, 1);
  t.equal((await command('subject-export', record.customerUrn, '--tenant', 'other')).code, 1);
});

t.test('exports and receipts name replaced keys that still contain the data key', async (t) => {
  const { serve, command, beside } = deployment(t);
  let server = await serve();
  const urn = await server.has(jane);
  const copy = beside('keys.copy');
  t.equal((await command('backup-keys', copy)).code, 0);
  await server.stop();
  t.equal((await command('restore-keys', copy)).code, 0);
  const aside = /^keys\.db\.replaced-/;
  t.match((await command('subject-export', urn, '--tenant', 'acme')).value.copies, [aside]);
  server = await serve();
  await server.forget(urn);
  const { receipt } = (await server.receipt(urn)).body.result;
  t.match(receipt, { dataKeyDestroyed: false, residualScan: { clean: false } });
  const found = receipt.residualScan.findings.filter((finding: { found: number }) => finding.found > 0);
  t.match(found, [{ kind: 'keys_copy', place: aside, found: 1 }]);
});

t.test('an erased record that is damaged has a receipt, made from the erasure log', async (t) => {
  const { dataDir, server, serve, urn } = await erasedJane(t);
  await server.stop();
  withRawSqlite(sqliteFiles(dataDir).data, (raw) =>
    raw.exec('UPDATE customers SET sealed = randomblob(100) WHERE erasure IS NOT NULL'),
  );
  const { status, body } = await (await serve()).receipt(urn);
  t.equal(status, 200);
  t.match(body.result.receipt, { customerUrn: urn, dataKeyDestroyed: true, residualScan: { clean: true } });
  const kept = body.result.receipt.kept.map(({ field }: { field: string }) => field);
  t.ok(kept.includes('primaryBillingAddress.countryCode'), 'what may be left is named');
});
