/** `c2a-customers/contract`: the contract suites, to test your own adapter. */
export {
  customerRepositoryContract,
  type MakeStorage,
  type OpenRepository,
  sharedCustomersContract,
} from './customer-repository.ts';
export type { Connection } from './scenario.ts';
export {
  type MakeDirectories,
  type OpenDirectory,
  sharedTenantsContract,
  tenantDirectoryContract,
} from './tenant-directory.ts';
export { type ContractTest, type NodeTest, nodeTest } from './test.ts';
