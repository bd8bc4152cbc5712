import type { TenantId } from '../domain/identity.ts';
import type { CustomerRepository } from './ports/customer-repository.ts';

/** How long a new event may stay unnoticed. Each tenant that has waiters costs one read in this time. */
const pollMs = 150;

interface Waiter {
  readonly after: number;
  wake(): void;
}

/** Lets requests wait for change events: one poll for each tenant, however many requests wait. */
export class FeedWatch {
  readonly #repository: Pick<CustomerRepository, 'lastChange'>;
  /** Never an empty set: a tenant is polled as long as it is here. */
  readonly #waiters = new Map<TenantId, Set<Waiter>>();
  #isStopped = false;

  constructor(repository: Pick<CustomerRepository, 'lastChange'>) {
    this.#repository = repository;
  }

  countOf(tenant: TenantId): number {
    return this.#waiters.get(tenant)?.size ?? 0;
  }

  /**
   * Waits until the tenant has an event after a position. Also resolves when the time is over, `signal` is aborted, the
   * storage fails (the caller's next read then fails), or waiting was stopped.
   */
  async wait(tenant: TenantId, after: number, ms: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#isStopped || signal?.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    const waiter = { after, wake };
    const timer = setTimeout(wake, ms);
    signal?.addEventListener('abort', wake, { once: true });
    const others = this.#waiters.get(tenant);
    if (others !== undefined) others.add(waiter);
    else this.#startPolling(tenant, new Set([waiter]));
    await promise;
    clearTimeout(timer);
    signal?.removeEventListener('abort', wake);
    const left = this.#waiters.get(tenant);
    left?.delete(waiter);
    if (left?.size === 0) this.#waiters.delete(tenant);
  }

  /** Ends all waiting, at the shutdown of the server. */
  stop(): void {
    this.#isStopped = true;
    for (const waiters of this.#waiters.values()) for (const { wake } of waiters) wake();
  }

  #startPolling(tenant: TenantId, waiters: Set<Waiter>): void {
    this.#waiters.set(tenant, waiters);
    const poll = async () => {
      // Another set is polled by the call that has made it.
      if (this.#waiters.get(tenant) !== waiters) return;
      const last = await this.#repository.lastChange(tenant).catch(() => Number.POSITIVE_INFINITY);
      for (const { after, wake } of waiters) if (last > after) wake();
      setTimeout(poll, pollMs);
    };
    setTimeout(poll, pollMs);
  }
}
