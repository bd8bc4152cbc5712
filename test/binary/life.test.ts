/** The binary in use: alone in an empty folder, without Node on the PATH and without privileges. */
import { chmodSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import openApi from '../../openapi.json' with { type: 'json' };
import { installed } from '../support/binary.ts';
import { storing } from '../support/client.ts';
import { deployment } from '../support/deployment.ts';
import { fixtures, unpack, upgrade } from '../support/fixtures.ts';
import { newDatabase } from '../support/postgres.ts';
import { run } from '../support/process.ts';

/** A deployment run by the binary. */
async function started(t: Test) {
  const { home, program } = await installed(t);
  return { home, program, ...deployment(t, join(home, 'data'), [], program) };
}

t.test('a deployment works from the first start to the restore of a backup', async (t) => {
  const { dataDir, serve, command, useKey, beside, program } = await started(t);
  let server = await serve();
  t.equal(statSync(dataDir).mode & 0o777, 0o700);

  t.match((await command('key', 'list')).value, [{ tenant: 'acme', role: 'full' }]);
  const reader = (await command('key', 'issue', 'acme', '--role', 'read')).value;
  const issued = (await command('key', 'issue', 'acme', '--name', 'backend')).value;
  const rotated = (await command('key', 'rotate', issued.id, '--overlap', '1h')).value;
  t.match((await command('key', 'revoke', reader.id)).value, { id: reader.id, revokedAt: String });
  useKey('acme', rotated.key);

  const jane = { externalIdentifier: 'crm-1', email: 'jane.doe@example.com', phoneNumber: '0170 1234567' };
  t.match((await server.post('validate', { externalId: 'crm-1' })).body, { isAvailable: true });
  const urn = await server.has(jane);
  t.equal((await server.post('store', storing({ ...jane, externalIdentifier: 'crm-2' }))).status, 409);
  t.match((await server.post('update', { customer: { customerUrn: urn, firstName: 'Jane' } })).body.result, {
    phoneNumber: '+491701234567',
    firstName: 'Jane',
  });
  const erased = await server.has({ externalIdentifier: 'crm-3', firstName: 'Joan' });
  await server.forget(erased);
  const { receipt } = (await server.receipt(erased)).body.result;
  t.match(receipt, { customerUrn: erased, residualScan: { clean: true } });

  const backup = beside('customers.backup');
  t.equal((await command('backup', backup)).code, 0);
  t.equal((await command('backup-keys', beside('keys.copy'))).code, 0);
  const after = await server.has({ externalIdentifier: 'crm-4' });
  t.equal((await server.stop('SIGKILL')).code, null);

  server = await serve();
  t.match((await server.info({ urn: after })).body.result, { externalIdentifier: 'crm-4' });
  t.equal((await command('subject-export', urn, '--tenant', 'acme')).value.record.firstName, 'Jane');
  const signed = (await command('erasure-receipt', erased, '--tenant', 'acme')).value;
  t.equal(signed.receipt.customerUrn, erased);
  await server.forget(urn);
  t.equal((await command('compact')).code, 0);
  // The owner may have protected the file.
  const masterKey = join(dataDir, 'master.key');
  chmodSync(masterKey, 0o400);
  t.match(await command('keys', 'rotate-master'), { code: 1, stderr: 'cannot be written to' });
  t.equal((await command('tenant', 'list')).code, 0, 'nothing was changed');
  chmodSync(masterKey, 0o600);
  t.equal((await command('keys', 'rotate-master')).code, 0);
  t.equal((await server.stop()).code, 0);

  t.match((await command('restore', backup)).value, { erasedAgain: 1, unreadable: 0 });
  server = await serve();
  t.match((await server.info({ urn })).body.result, { status: 'Anonymized' }, 'erased customers stay erased');
  t.equal((await server.info({ urn: after })).status, 404, 'customers stored after the backup are lost');
  t.equal((await server.stop('SIGINT')).code, 0);

  const [file, ...words] = program;
  t.match(await run(file, [...words, '--help']), { code: 0, stdout: /^Usage: c2a <command>/ });
  t.match(await run(file, [...words, 'nonsense']), { code: 2, stderr: /unknown command/ });
  t.match(await run(file, [...words, 'bakup']), { code: 2, stderr: /Did you mean backup\?/ });
});

t.test('the documentation is embedded, and the same as from source', async (t) => {
  const server = await (await started(t)).serve();
  t.same((await server.get('/openapi.json')).body, openApi);
  const page = await server.get('/docs');
  const assets = [...page.text.matchAll(/(?:src|href)="\.?([^"]+)"/g)].map(([, path]) => path as string);
  t.ok(assets.length > 5);
  for (const path of [...assets, '/docs/json']) t.equal((await server.get(path)).status, 200, path);
  t.match((await server.get('/docs/nowhere')).body.status, { messageCode: 'NOT_FOUND' });
  t.match((await server.get('/metrics')).text, 'process_resident_memory_bytes');
});

t.test('a deployment moves to PostgreSQL, and is served from there', async (t) => {
  const { serve, command, dataDir } = await started(t);
  let server = await serve();
  const urn = await server.has({ externalIdentifier: 'crm-1' });
  await server.stop();
  const url = await newDatabase(t);
  t.equal((await command('move', '--from', `sqlite:${dataDir}`, '--to', url)).code, 0);
  server = await serve('--database-url', url);
  t.match((await server.info({ urn })).body.result, { externalIdentifier: 'crm-1' });
  t.equal((await server.stop()).code, 0);
});

t.test('it serves with several workers', async (t) => {
  const { serve } = await started(t);
  const server = await serve('--workers', '2');
  const urn = await server.has({ externalIdentifier: 'crm-1' });
  for (let turn = 0; turn < 4; turn += 1) {
    const { status } = await server.get(`/api/c2a/customer/info?urn=${urn}`, { connection: 'close' });
    t.equal(status, 200);
  }
  t.equal((await server.stop()).code, 0);
});

for (const fixture of fixtures) {
  t.test(`${fixture} is upgraded at the start of the binary`, async (t) => {
    const { home, program, handOver } = await installed(t);
    const dataDir = join(home, 'data');
    unpack(fixture, dataDir);
    handOver(dataDir);
    await upgrade(t, fixture, dataDir, program);
  });
}

t.test('its memory is bounded, and its start time reported', async (t) => {
  const { serve } = await started(t);
  const times: number[] = [];
  let memory = '';
  for (let count = 0; count < 6; count += 1) {
    const since = performance.now();
    const server = await serve('--log-level', 'warn');
    times.push(performance.now() - since);
    if (count === 5) {
      await delay(2_000);
      memory = readFileSync(`/proc/${server.child.pid}/status`, 'utf8');
    }
    await server.stop();
  }
  const resident = Number(/VmRSS:\s+(\d+) kB/.exec(memory)?.[1]) * 1024;
  t.comment(`ready after ${times.map(Math.round).join(', ')} ms; ${(resident / 1e6).toFixed(1)} MB`);
  // The time depends on the machine's load, so it is not asserted.
  t.ok(resident < 104e6, `${resident} bytes are resident`);
});

t.test('health asks a running server', async (t) => {
  const { serve, command } = await started(t);
  const server = await serve();
  const { port } = new URL(server.url);
  const [file, ...words] = (await installed(t)).program;
  const health = (...more: string[]) => run(file, [...words, 'health', '--port', port, ...more]);
  t.match(await health(), { code: 0, stdout: /\/healthz answers 200/ });
  t.match(await health('--ready', '--host', '0.0.0.0'), { code: 0, stdout: /127\.0\.0\.1:\d+\/readyz answers 200/ });
  await server.stop();
  t.match(await health(), { code: 1, stderr: /does not answer/ });
  t.equal((await command('tenant', 'list')).code, 0);
});
