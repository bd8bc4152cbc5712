/**
 * The contract of `CustomerRepository` (`src/application/ports/customer-repository.ts`). To test an adapter, call
 * `customerRepositoryContract`. If several connections can use one storage, also call `sharedCustomersContract`.
 */
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import { changesContract } from './customer-repository/changes.ts';
import { concurrencyContract } from './customer-repository/concurrency.ts';
import { eraseContract } from './customer-repository/erase.ts';
import { erasedStaysErasedContract } from './customer-repository/erased-stays-erased.ts';
import type { TestRepository } from './customer-repository/examples.ts';
import { exchangeContract } from './customer-repository/exchange.ts';
import { findContract } from './customer-repository/find.ts';
import { historyContract } from './customer-repository/history.ts';
import { idempotencyContract } from './customer-repository/idempotency.ts';
import { idempotencyAfterErasureContract } from './customer-repository/idempotency-after-erasure.ts';
import { listContract } from './customer-repository/list.ts';
import { mergeContract } from './customer-repository/merge.ts';
import { storeContract } from './customer-repository/store.ts';
import { syncContract } from './customer-repository/sync.ts';
import { updateContract } from './customer-repository/update.ts';
import { tenantOf } from './scenario.ts';
import type { ContractTest } from './test.ts';

export { type MakeStorage, sharedCustomersContract } from './customer-repository/shared.ts';

/** Opens an empty repository, which is closed when the test ends. */
export type OpenRepository<Test> = (t: Test) => Promise<CustomerRepository>;

/** @param t gets one test for each clause of the contract, each over an empty repository */
export function customerRepositoryContract<Test extends ContractTest>(t: Test, open: OpenRepository<Test>): void {
  const test: TestRepository<Test> = (clause, run) =>
    t.test(clause, async (t: Test) => {
      const repository = await open(t);
      await run(t, tenantOf(repository), repository);
    });
  storeContract(test);
  findContract(test);
  listContract(test);
  updateContract(test);
  syncContract(test);
  exchangeContract(test);
  eraseContract(test);
  historyContract(test);
  changesContract(test);
  erasedStaysErasedContract(test);
  mergeContract(test);
  idempotencyContract(test);
  idempotencyAfterErasureContract(test);
  concurrencyContract(test);
}
