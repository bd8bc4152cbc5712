import type { CustomerUrn, TenantId } from '../../domain/identity.ts';
import { nextTurn } from '../next-turn.ts';
import type { AuditTrail, CustomerTrail } from '../ports/audit-trail.ts';
import type { CustomerRepository } from '../ports/customer-repository.ts';
import type { EventFinding } from './findings.ts';

interface Dependencies {
  readonly trail: AuditTrail;
  readonly repository: Pick<CustomerRepository, 'lastChange'>;
}

/** How many customers, or entries of the erasure log, are read at once. */
const readAtOnce = 1_000;
/** How often a customer is read that others change meanwhile. */
const maxReadings = 20;

/** Compares a tenant's records and erasure log with the events of its customers. */
export async function customerFindings(dependencies: Dependencies, tenant: TenantId): Promise<EventFinding[]> {
  // Before the customers are read: the events of these erasures are stored by now.
  const finished = await dependencies.trail.finishedErasures(tenant);
  const customers = await checkCustomers(dependencies, tenant);
  return [...customers, ...(await checkErasures(dependencies.trail, tenant, finished))];
}

async function checkCustomers(dependencies: Dependencies, tenant: TenantId): Promise<EventFinding[]> {
  const { trail } = dependencies;
  const findings: EventFinding[] = [];
  // First, as customers may be stored faster than they are checked.
  const until = await trail.lastCustomer(tenant);
  for (let after: CustomerUrn | undefined; until !== undefined; ) {
    const page = await trail.customers(tenant, after, until, readAtOnce);
    findings.push(...(await checkPage(dependencies, tenant, page)));
    after = page.at(-1)?.customerUrn;
    if (after === undefined) break;
    await nextTurn();
  }
  return findings;
}

/** @param finished the sequence up to which all erasures are finished: later ones may have no event yet */
async function checkErasures(trail: AuditTrail, tenant: TenantId, finished: number): Promise<EventFinding[]> {
  const findings: EventFinding[] = [];
  for (let after = 0; after < finished; ) {
    const page = await trail.erasures(tenant, after, readAtOnce);
    for (const { sequence, customerUrn } of page) {
      if (sequence > finished || customerUrn === undefined) continue;
      const customer = await trail.customer(tenant, customerUrn);
      // A backup of the records may be older than a customer that was erased since.
      if (customer === undefined || customer.events?.isAnonymizing) continue;
      findings.push({ kind: 'entry_without_event', tenant, sequence, customerUrn });
    }
    after = page.at(-1)?.sequence ?? finished;
    await nextTurn();
  }
  return findings;
}

async function checkPage(dependencies: Dependencies, tenant: TenantId, page: readonly CustomerTrail[]) {
  const suspects: CustomerUrn[] = [];
  for (const customer of page) {
    if ((await findingsOf(dependencies, tenant, customer)).length > 0) suspects.push(customer.customerUrn);
  }
  // Assigns positions to events that had none yet.
  if (suspects.length > 0) await dependencies.repository.lastChange(tenant);
  const findings: EventFinding[] = [];
  for (const urn of suspects) {
    // The record may have been read before a change, and its events after it.
    const again = await dependencies.trail.customer(tenant, urn);
    if (again === undefined || (await findingsOf(dependencies, tenant, again)).length === 0) continue;
    const settled = await settle(dependencies, tenant, urn);
    if (settled !== undefined) findings.push(...(await findingsOf(dependencies, tenant, settled)));
  }
  return findings;
}

/** A customer that two readings in a row show alike; undefined if others keep changing it. */
async function settle({ trail, repository }: Dependencies, tenant: TenantId, urn: CustomerUrn) {
  let last: string | undefined;
  for (let readings = 0; readings < maxReadings; readings += 1) {
    await repository.lastChange(tenant);
    const customer = await trail.customer(tenant, urn);
    const reading = JSON.stringify(customer);
    if (reading === last) return customer;
    last = reading;
  }
  return undefined;
}

async function findingsOf(
  { trail }: Dependencies,
  tenant: TenantId,
  { customerUrn, record, events }: CustomerTrail,
): Promise<EventFinding[]> {
  if (events === undefined) {
    return [{ kind: 'record_differs_from_events', tenant, customerUrn, version: record?.version ?? 0 }];
  }
  const { count, firstVersion, lastVersion, unnumbered, isAnonymizing } = events;
  const findings: EventFinding[] = [];
  if (unnumbered > 0) findings.push({ kind: 'event_without_position', tenant, customerUrn, count: unnumbered });
  if (firstVersion !== 1 || count !== lastVersion) findings.push({ kind: 'version_gap', tenant, customerUrn });
  if (record?.version !== lastVersion || record.isAnonymized !== isAnonymizing) {
    findings.push({ kind: 'record_differs_from_events', tenant, customerUrn, version: lastVersion });
  }
  if (isAnonymizing && !(await trail.hasErasure(tenant, customerUrn))) {
    findings.push({ kind: 'event_without_entry', tenant, customerUrn, version: lastVersion });
  }
  return findings;
}
