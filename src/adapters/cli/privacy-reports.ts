import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import { parseReference } from '../../application/customer-reference.ts';
import type { CustomerReference } from '../../application/ports/customer-repository.ts';
import type { SignedReceipt } from '../../application/privacy-reports.ts';
import type { CustomerUrn, TenantId } from '../../domain/identity.ts';
import { writeNewFile } from '../files.ts';
import { createReferenceData } from '../reference-data.ts';
import { CommandError, type Context, type OpenServices, UsageError } from './context.ts';
import { readText, toCaseNumber, toTenantId, withStorage } from './options.ts';
import { receiptPage } from './receipt-page.ts';

/** `erasure-receipt`, `verify-receipt` and `subject-export`. */
export function addPrivacyCommands(program: Command, { open, print }: Context): void {
  withCustomer(program.command('erasure-receipt'))
    .description('Print a signed receipt of an erasure, with the result of a residual scan made now.')
    .action(async (text: string, options) => {
      const { tenant, by } = parseCustomer(text, options.tenant);
      const services = await open(options);
      const { erasures } = services;
      const urn = await urnOf(services, tenant, by);
      const signed = await erasures.receipt(tenant, urn);
      if (signed === undefined) {
        throw new CommandError(
          'urn' in by
            ? `no customer of ${tenant} was erased under ${urn}`
            : `the customer of ${tenant} with this ExternalId, ${urn}, was not erased; ${nameErasedByUrn}`,
        );
      }
      print(signed, JSON.stringify(signed, null, 2));
    });

  program
    .command('verify-receipt <file>')
    .description('Check that a receipt is unaltered and signed by the deployment with the given key. Needs no storage.')
    .option(
      '--public-key <key>',
      'the key that the deployment publishes at /.well-known/c2a-receipts (base64url); required',
    )
    .option('--html <file>', 'also write the receipt as a page to print or send, to this new file')
    .action(async (file: string, { publicKey, html }) => {
      const { signed, residues, ...verified } = await verifyReceipt(file, publicKey);
      const { customerUrn, tenant, erasedAt, clean } = verified;
      if (html !== undefined) writeNewFile(html, receiptPage(signed, new Date()));
      const lines = [
        `valid: ${customerUrn} of ${tenant} was erased at ${erasedAt}`,
        ...(clean
          ? []
          : [`not clean: the residual scan found data (${residues.join(', ')}); delete it and get a new receipt`]),
        ...(html === undefined ? [] : [`the page is in ${html}`]),
      ];
      print({ ...verified, ...(html !== undefined && { html }) }, lines.join('\n'));
    });

  withCustomer(program.command('subject-export'))
    .description('Print all data about one customer in JSON (GDPR Art. 15 and 20).')
    .option('--reference <case>', 'why: your case number, kept in the history of the customer', toCaseNumber)
    .action(async (text: string, options) => {
      const { tenant, by } = parseCustomer(text, options.tenant);
      const services = await open(options);
      const { erasures } = services;
      const urn = await urnOf(services, tenant, by);
      const { reference } = options;
      const actor = { keyId: 'c2a subject-export', requestId: randomUUID() };
      const exported = await erasures.subjectExport(tenant, urn, { actor, ...(reference && { reference }) });
      if (exported === undefined) throw new CommandError(`there is no customer ${urn} of ${tenant}`);
      print(exported, JSON.stringify(exported, null, 2));
    });
}

const withCustomer = (command: Command) =>
  withStorage(
    command
      .argument('<customer>', 'CustomerUrn or ExternalId; an erased customer has only its CustomerUrn')
      .option('--tenant <tenant>', "the customer's tenant; required"),
  );

function parseCustomer(text: string, tenant: string | undefined) {
  const by = parseReference(text, createReferenceData());
  if (by === undefined) {
    throw new UsageError(
      '<customer> must be a CustomerUrn such as cu.00.482, or an ExternalId of 1 to 128 characters without control ' +
        'characters',
    );
  }
  if (tenant === undefined) throw new UsageError('--tenant is required');
  return { tenant: toTenantId(tenant), by };
}

export const nameErasedByUrn = 'an erasure also erases the ExternalId: name an erased customer by its CustomerUrn';

/** @throws CommandError if the tenant does not exist, or no customer has the ExternalId */
async function urnOf(
  { tenants, erasures }: OpenServices,
  tenant: TenantId,
  by: CustomerReference,
): Promise<CustomerUrn> {
  if (!(await tenants.list()).some(({ id }) => id === tenant)) throw new CommandError(`there is no tenant ${tenant}`);
  const urn = await erasures.findUrn(tenant, by);
  if (urn === undefined) throw new CommandError(`no customer of ${tenant} has this ExternalId; ${nameErasedByUrn}`);
  return urn;
}

/** An Ed25519 public key (RFC 8032). */
const publicKeyBytes = 32;

/**
 * Checks the receipt in a file. @returns the content of the receipt; `residues` names the places where data was left,
 * and `signed` is the whole receipt with the verified key and signature
 *
 * @param publicKey required, although the receipt contains a key: anybody can sign a forged receipt with another key
 * @throws CommandError if the file is not a receipt, or its signature is wrong
 */
export async function verifyReceipt(file: string, publicKey: string | undefined) {
  const whereFrom = 'the key that the deployment publishes at /.well-known/c2a-receipts';
  if (publicKey === undefined) throw new UsageError(`--public-key is required: ${whereFrom}`);
  const key = Buffer.from(publicKey, 'base64url');
  if (key.length !== publicKeyBytes) throw new UsageError('--public-key must be 43 characters of base64url');
  const { receipt, signature } = readReceipt(file, '<file>');
  const { verifySignature } = await import('../crypto/vault.ts');
  const value = Buffer.from(signature.value, 'base64url');
  if (!verifySignature(value, JSON.stringify(receipt), key)) {
    throw new CommandError('the receipt was altered, or was signed by another key');
  }
  const { customerUrn, tenant, erasedAt, residualScan } = receipt;
  const residues = residualScan.findings.filter(({ found }) => found > 0).map(({ place }) => place);
  const verified = { publicKey: key.toString('base64url'), value: value.toString('base64url') };
  const signed: SignedReceipt = { receipt, signature: { algorithm: 'Ed25519', ...verified } };
  return { valid: true, publicKey, tenant, customerUrn, erasedAt, clean: residualScan.clean, residues, signed };
}

/**
 * Reads a receipt in the form of the command line's output or of the API's response.
 *
 * @param name the argument that names the file
 */
export function readReceipt(file: string, name: string): SignedReceipt {
  const text = readText(file, name);
  try {
    const content = JSON.parse(text);
    const signed = content.result ?? content;
    if (typeof signed.signature.value === 'string' && Array.isArray(signed.receipt.residualScan.findings))
      return signed;
  } catch {
    // The file is not JSON, or lacks these members.
  }
  throw new CommandError(`${file} is not a receipt`);
}
