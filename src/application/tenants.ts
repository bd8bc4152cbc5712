import type { TenantId } from '../domain/identity.ts';
import type { PaymentSettings } from '../domain/payment-options.ts';
import { eachTenant } from './each-tenant.ts';
import type { Clock } from './ports/clock.ts';
import type { CustomerCount, CustomerRepository } from './ports/customer-repository.ts';
import type { JwtSettings, Tenant, TenantDirectory } from './ports/tenant-directory.ts';

/** Settings of a tenant; an absent setting keeps its value. */
export interface TenantSettings {
  readonly name?: string | undefined;
  readonly channels?: PaymentSettings['channels'] | undefined;
  readonly canSavePaymentMethod?: boolean | undefined;
  /** null removes the setting, so that bearer tokens are no longer required. */
  readonly jwt?: JwtSettings | null | undefined;
}

interface Dependencies {
  readonly directory: TenantDirectory;
  readonly repository: Pick<CustomerRepository, 'countCustomers'>;
  readonly clock: Clock;
}

const defaultPayment: PaymentSettings = { channels: [], canSavePaymentMethod: false };

export class Tenants {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** Adds a tenant. Returns false if it already exists. */
  add(id: TenantId, settings: TenantSettings): Promise<boolean> {
    const { directory, clock } = this.#dependencies;
    return directory.addTenant(withSettings({ id, payment: defaultPayment, createdAt: clock() }, settings));
  }

  /** Changes settings. Returns the changed tenant; undefined if it does not exist. */
  async set(id: TenantId, settings: TenantSettings): Promise<Tenant | undefined> {
    const { directory } = this.#dependencies;
    const current = await directory.findTenant(id);
    if (current === undefined) return undefined;
    const tenant = withSettings(current, settings);
    return (await directory.setTenant(tenant)) ? tenant : undefined;
  }

  /** All tenants, ordered by id. */
  list(): Promise<readonly Tenant[]> {
    return this.#dependencies.directory.listTenants();
  }

  /**
   * All tenants, ordered by id, each with the number of its customers; see {@link CustomerRepository.countCustomers}.
   * `count` is undefined if the storage failed for this tenant.
   */
  async listWithCounts(): Promise<readonly { readonly tenant: Tenant; readonly count: CustomerCount | undefined }[]> {
    const { directory, repository } = this.#dependencies;
    const tenants = await directory.listTenants();
    const ids = tenants.map(({ id }) => id);
    const { results } = await eachTenant(ids, (id) => repository.countCustomers(id));
    return tenants.map((tenant) => ({ tenant, count: results.get(tenant.id) }));
  }
}

function withSettings({ jwt: currentJwt, ...tenant }: Tenant, settings: TenantSettings): Tenant {
  const { name, channels, canSavePaymentMethod, jwt = currentJwt } = settings;
  return {
    ...tenant,
    ...(name !== undefined && { name }),
    payment: {
      channels: channels ?? tenant.payment.channels,
      canSavePaymentMethod: canSavePaymentMethod ?? tenant.payment.canSavePaymentMethod,
    },
    ...(jwt && { jwt }),
  };
}
