import type { CustomerUrn, TenantId } from '../../domain/identity.ts';
import type { Actor } from './actor.ts';

/** Somebody looked at a person: not at the record that a flow names, but at whoever has an e-mail address, or at everything. */
export interface Access {
  readonly customerUrn: CustomerUrn;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly operation: 'find' | 'subject-export';
  readonly actor: Actor;
  /** Why: the tenant's own case number. Absent if the request had none. */
  readonly reference?: string;
}

/**
 * Who looked at a person, when and why (GDPR Art. 5(2) and 32). Contains no personal data of the customer, so it is kept
 * after an erasure. Apart from the change feed, which has what changed a customer. `test/contract/access-records.ts` is the
 * contract suite.
 */
export interface AccessRecords {
  /** Records an access. It is durable before the promise resolves. */
  add(tenant: TenantId, access: Access): Promise<void>;
  /** The accesses to this customer, oldest first. */
  list(tenant: TenantId, urn: CustomerUrn): Promise<readonly Access[]>;
}
