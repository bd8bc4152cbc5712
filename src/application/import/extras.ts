import { isAnonymized } from '../../domain/anonymization.ts';
import type { CustomerUrn, TenantId } from '../../domain/identity.ts';
import type { CustomerRepository } from '../ports/customer-repository.ts';
import type { ExtraAnswer } from './answers.ts';
import type { UrnSet } from './urn-set.ts';

/** How many customers are read at once. */
const pageSize = 200;

/**
 * The customers that no row of a complete file named, page by page. Those that were stored since the import began may not
 * be in the file yet.
 *
 * @param began when the import began, as a timestamp
 */
export async function* extrasOf(
  repository: Pick<CustomerRepository, 'list'>,
  tenant: TenantId,
  named: UrnSet,
  began: string,
): AsyncGenerator<readonly ExtraAnswer[], void> {
  for (let last: CustomerUrn | undefined; ; ) {
    const page = await repository.list(tenant, last, pageSize);
    last = page.at(-1)?.customer.customerUrn;
    if (last === undefined) return;
    yield page
      .map(({ customer }) => customer)
      .filter((customer) => !isAnonymized(customer) && customer.createdAt < began && !named.has(customer.customerUrn))
      .map(({ customerUrn, externalIdentifier }) => ({ outcome: 'extra', customerUrn, externalIdentifier }));
  }
}
