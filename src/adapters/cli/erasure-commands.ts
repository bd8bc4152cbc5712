import { readFileSync } from 'node:fs';
import type { ErasureReceipt } from '../../application/privacy-reports.ts';
import { type CustomerUrn, parseCustomerUrn, type TenantId } from '../../domain/identity.ts';
import { type Command, CommandError, type Context, exactly, storageOptions, tenantOption, UsageError } from './run.ts';

const tenantOptions = { tenant: { type: 'string', about: 'the tenant' }, ...storageOptions } as const;

/** What can be shown of erasures, and of what is held about one person. */
export const erasureCommands: readonly Command[] = [
  {
    name: 'erasure-receipt',
    usage: '<urn> --tenant <tenant>',
    about: 'A signed receipt of an erasure, with a look through the storage made now.',
    options: tenantOptions,
    async run(context) {
      const { tenant, urn } = customerArgument(context);
      const { erasures } = await context.open();
      const signed = await erasures.receipt(tenant, urn);
      if (signed === undefined) throw new CommandError(`no customer of ${tenant} was erased under ${urn}`);
      context.print(signed, JSON.stringify(signed, null, 2));
    },
  },
  {
    name: 'verify-receipt',
    usage: '<file> --public-key <key>',
    about: 'Check a receipt: whether it is whole, and signed by the deployment of that key. Dependencies no data.',
    options: {
      'public-key': {
        type: 'string',
        about: 'the key that the deployment publishes at /.well-known/c2a-receipts (base64url)',
      },
    },
    async run(context) {
      const [file] = exactly(1, context, 'the file of a receipt');
      const publicKey = context.options['public-key'];
      // A receipt names its key, but anybody could have made one and signed it.
      if (typeof publicKey !== 'string') {
        throw new UsageError(
          '--public-key is needed: the key that the deployment publishes at /.well-known/c2a-receipts',
        );
      }
      const key = Buffer.from(publicKey, 'base64url');
      if (key.length !== publicKeyBytes) throw new UsageError('--public-key must be 43 characters of base64url');
      const { receipt, signature } = readReceipt(file as string);
      const { verifySignature } = await import('../crypto/vault.ts');
      const valid = verifySignature(Buffer.from(signature.value, 'base64url'), JSON.stringify(receipt), key);
      if (!valid) throw new CommandError('the receipt is not what was signed, or another key signed it');
      const { customerUrn, tenant, erasedAt, residualScan } = receipt;
      const { clean, findings } = residualScan;
      const left = findings.filter(({ found }) => found > 0).map(({ place }) => place);
      context.print(
        { valid, publicKey, tenant, customerUrn, erasedAt, clean },
        `valid: ${customerUrn} of ${tenant} was erased at ${erasedAt}` +
          (clean ? '' : `\nnot clean: something was left when this was signed (${left.join(', ')})`),
      );
    },
  },
  {
    name: 'subject-export',
    usage: '<urn> --tenant <tenant>',
    about: 'Everything that is held about one customer, machine-readable (GDPR Art. 15 and 20).',
    options: tenantOptions,
    async run(context) {
      const { tenant, urn } = customerArgument(context);
      const { erasures } = await context.open();
      const all = await erasures.subjectExport(tenant, urn);
      if (all === undefined) throw new CommandError(`there is no customer ${urn} of ${tenant}`);
      context.print(all, JSON.stringify(all, null, 2));
    },
  },
];

function customerArgument(context: Context): { readonly tenant: TenantId; readonly urn: CustomerUrn } {
  const [text] = exactly(1, context, 'one CustomerUrn');
  const urn = parseCustomerUrn(text as string);
  if (urn === undefined) throw new UsageError('a CustomerUrn looks like cu.00.482');
  const tenant = tenantOption(context);
  if (tenant === undefined) throw new UsageError('--tenant is needed');
  return { tenant, urn };
}

/** Ed25519. */
const publicKeyBytes = 32;

interface Receipt {
  readonly receipt: Pick<ErasureReceipt, 'tenant' | 'customerUrn' | 'erasedAt' | 'residualScan'>;
  readonly signature: { readonly value: string };
}

/** A receipt as it was printed, or as the API answered it, in its envelope. */
function readReceipt(file: string): Receipt {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new CommandError(`the receipt cannot be read: ${(error as Error).message}`);
  }
  try {
    const content = JSON.parse(text);
    const signed = content.result ?? content;
    if (typeof signed.signature.value !== 'string') throw new Error();
    return signed;
  } catch {
    throw new CommandError(`${file} is not a receipt`);
  }
}
