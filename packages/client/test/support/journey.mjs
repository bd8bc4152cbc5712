/** What package.test.ts runs on each platform: the client against a service. */
import { createClient } from 'c2a-customers-client';
import { verifyErasureReceipt, verifyWebhook } from 'c2a-customers-client/verify';

const claimedRegion = { countryCode: 'DE', languageCode: 'de' };
const stateOf = (id) => ({ customer: { externalIdentifier: id, email: `${id}@example.com` }, claimedRegion });
const count = async (items) => {
  let total = 0;
  for await (const _ of items) total += 1;
  return total;
};

async function* rows() {
  for (let index = 0; index < 3_000; index += 1) yield stateOf(`row-${index}`);
}

/** What the client has seen, as JSON. */
export async function journey(baseUrl, apiKey) {
  const c2a = createClient({ baseUrl, tenant: 'acme', apiKey });
  const synced = await c2a.sync(stateOf('crm-1'));
  const conflict = await c2a.store({ ...stateOf('crm-2'), customer: { externalIdentifier: 'crm-1' } });
  const refused = await createClient({ baseUrl, tenant: 'acme', apiKey: 'wrong' }).info({ exId: 'crm-1' });
  let summary;
  for await (const answer of c2a.import(rows())) summary = answer;
  let beginning;
  for await (const { changes } of c2a.changes({ limit: 2 })) {
    beginning = changes.length;
    break;
  }
  const exported = await count(c2a.export());
  const { customerUrn } = synced.result;
  await c2a.delete({ customerUrn });
  const [receipt, key] = await Promise.all([c2a.erasureReceipt(customerUrn), c2a.receiptKey()]);

  const secret = new TextEncoder().encode('a secret of twenty-four b');
  const hmac = await crypto.subtle.importKey('raw', secret, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  const time = Math.floor(Date.now() / 1_000);
  const signature = await crypto.subtle.sign('HMAC', hmac, new TextEncoder().encode(`id.${time}.{}`));
  const base64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
  const headers = {
    'webhook-id': 'id',
    'webhook-timestamp': `${time}`,
    'webhook-signature': `v1,${base64(signature)}`,
  };

  return {
    synced: synced.outcome,
    conflict: conflict.messageCode,
    refused: refused.messageCode,
    summary,
    beginning,
    exported,
    receipt: await verifyErasureReceipt(receipt.result, key.publicKey),
    delivery: await verifyWebhook({ secret: `whsec_${base64(secret)}`, body: '{}', headers }),
  };
}
