/** Receipts and deliveries: what is genuine is accepted, and nothing else. */
import { generateKeyPairSync } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import t from 'tap';
import type { SignedReceipt } from '../src/index.ts';
import { verifyErasureReceipt, verifyWebhook } from '../src/verify.ts';
import { start, stateOf } from './support/service.ts';

t.test('a receipt is verified with the key of its deployment', async (t) => {
  const { c2a } = await start(t);
  await c2a.store(stateOf('crm-1', { firstName: 'Jane' }));
  await c2a.delete({ externalIdentifier: 'crm-1', reference: 'DSAR-7' });
  const [receipt, key] = await Promise.all([c2a.erasureReceipt('cu.00.1'), c2a.receiptKey()]);
  if (receipt.messageCode !== 'SUCCESS' || key.messageCode !== 'SUCCESS') throw new Error('refused');
  const { result } = receipt;
  t.equal(result.receipt.reference, 'DSAR-7');
  t.equal(await verifyErasureReceipt(result, key.publicKey), true);
  t.equal(
    await verifyErasureReceipt(JSON.parse(JSON.stringify(result)), key.publicKey),
    true,
    'after it was kept as JSON',
  );

  const changed = (change: object): SignedReceipt => ({ ...result, receipt: { ...result.receipt, ...change } });
  t.equal(await verifyErasureReceipt(changed({ customerUrn: 'cu.00.2' }), key.publicKey), false);
  t.equal(await verifyErasureReceipt(changed({ erasedAt: '2026-01-01T00:00:00.000Z' }), key.publicKey), false);
  const { value } = result.signature;
  for (const forged of ['', 'not base64 !', value.slice(0, -4), `A${value.slice(1)}`]) {
    t.equal(
      await verifyErasureReceipt({ ...result, signature: { ...result.signature, value: forged } }, key.publicKey),
      false,
    );
  }
  const { x: other = '' } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
  t.equal(await verifyErasureReceipt(result, other), false, 'another deployment');
  await t.rejects(verifyErasureReceipt(result, '?'), TypeError);

  t.match(await c2a.erasureReceipt('cu.00.99'), { messageCode: 'ERASURE_NOT_FOUND', httpStatus: 404 });
});

t.test('a delivery is verified as the library standardwebhooks signs it', async (t) => {
  const secret = `whsec_${Buffer.from('a secret of twenty-four b').toString('base64')}`;
  const event = {
    type: 'customer.updated',
    timestamp: '2026-01-15T12:00:00.000Z',
    data: { customerUrn: 'cu.00.1', note: 'ü' },
  };
  const body = JSON.stringify(event);
  const headersAt = (seconds: number, signed = body, by = secret) => {
    const at = new Date((Math.floor(Date.now() / 1_000) + seconds) * 1_000);
    return {
      'webhook-id': 'e-1',
      'webhook-timestamp': String(at.getTime() / 1_000),
      'webhook-signature': new Webhook(by).sign('e-1', at, signed),
    };
  };
  const headers = headersAt(0);
  const expected = { id: 'e-1', event };
  t.strictSame(await verifyWebhook({ secret, body, headers }), expected);
  t.strictSame(await verifyWebhook({ secret, body, headers: new Headers(headers) }), expected, 'headers of Fetch');
  t.strictSame(await verifyWebhook({ secret, body: new TextEncoder().encode(body), headers }), expected, 'bytes');
  t.strictSame(
    await verifyWebhook({ secret: secret.slice(6), body, headers }),
    expected,
    'a secret without its prefix',
  );
  const other = headersAt(0, body, `whsec_${Buffer.from('the secret from before').toString('base64')}`);
  const both = { ...headers, 'webhook-signature': `${other['webhook-signature']} ${headers['webhook-signature']}` };
  t.strictSame(await verifyWebhook({ secret, body, headers: both }), expected, 'while the secret is rotated');
  t.strictSame(await verifyWebhook({ secret, body, headers: headersAt(-290) }), expected);

  const refused = {
    'another body': { body: body.replace('cu.00.1', 'cu.00.2'), headers },
    'a byte order mark': { body: `\u{FEFF}${body}`, headers },
    'another secret': { body, headers: other },
    'another id': { body, headers: { ...headers, 'webhook-id': 'e-2' } },
    'another time': {
      body,
      headers: { ...headers, 'webhook-timestamp': String(Number(headers['webhook-timestamp']) + 1) },
    },
    'too old': { body, headers: headersAt(-310) },
    'too new': { body, headers: headersAt(310) },
    'a time that is no number': { body, headers: { ...headers, 'webhook-timestamp': 'now' } },
    'no signature': { body, headers: { ...headers, 'webhook-signature': '' } },
    'another version': {
      body,
      headers: { ...headers, 'webhook-signature': headers['webhook-signature'].replace('v1', 'v2') },
    },
    'no base64': { body, headers: { ...headers, 'webhook-signature': 'v1,not base64!' } },
    'too many signatures': {
      body,
      headers: { ...headers, 'webhook-signature': `${'v1,AAAA '.repeat(10)}${headers['webhook-signature']}` },
    },
    'no headers': { body, headers: {} },
  };
  for (const [name, { body, headers }] of Object.entries(refused)) {
    t.equal(await verifyWebhook({ secret, body, headers }), undefined, name);
  }
  t.equal(await verifyWebhook({ secret, body, headers: headersAt(-290), toleranceSeconds: 60 }), undefined);
  for (const secret of ['whsec_?', 'whsec_', '']) await t.rejects(verifyWebhook({ secret, body, headers }), TypeError);
});
