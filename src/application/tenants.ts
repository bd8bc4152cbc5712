import type { TenantId } from '../domain/identity.ts';
import type { PaymentSettings } from '../domain/payment-options.ts';
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

const noCustomers: CustomerCount = { customers: 0, anonymized: 0 };
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

  /** All tenants, ordered by id, each with the number of its customers; see {@link CustomerRepository.countCustomers}. */
  async listWithCounts(): Promise<readonly (Tenant & CustomerCount)[]> {
    const { directory, repository } = this.#dependencies;
    const tenants = await directory.listTenants();
    const counts = await repository.countCustomers();
    return tenants.map((tenant) => ({ ...tenant, ...(counts.get(tenant.id) ?? noCustomers) }));
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
