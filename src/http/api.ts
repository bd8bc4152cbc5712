/** The API: every resource under the base routes, behind authentication and the rate limit. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import type { Authentication } from '../application/authentication.ts';
import { authenticate, checkRoles } from './authentication.ts';
import { customerRecordSchemas } from './customer-schemas.ts';
import { envelopeSchemas } from './operation-schemas.ts';
import { type ChangesDependencies, changesRoutes, changesSchemas } from './routes/changes.ts';
import { type CustomerDependencies, customerRoutes, customerSchemas } from './routes/customers.ts';
import { type ErasureDependencies, erasureRoutes, erasureSchemas } from './routes/erasures.ts';
import { type ExportDependencies, exportRoutes } from './routes/export.ts';
import { type FindDependencies, findRoutes } from './routes/find.ts';
import { type ImportDependencies, importRoutes, importSchemas } from './routes/import.ts';
import { type MergeDependencies, mergeRoutes } from './routes/merge.ts';
import { type ReferenceDependencies, referenceRoutes, referenceSchemas } from './routes/references.ts';
import { type SubjectExportDependencies, subjectExportRoutes, subjectExportSchemas } from './routes/subject-exports.ts';
import { type SyncDependencies, syncRoutes } from './routes/sync.ts';

/** The base route, and its versioned form. */
export const baseRoutes = ['/api/c2a/customer', '/api/v1/c2a/customer'] as const;

export type ApiDependencies = CustomerDependencies &
  ErasureDependencies &
  SubjectExportDependencies &
  SyncDependencies &
  MergeDependencies &
  FindDependencies &
  ChangesDependencies &
  ReferenceDependencies &
  ImportDependencies &
  ExportDependencies & { readonly authentication: Pick<Authentication, 'recall' | 'authenticate' | 'claimsOf'> };

/** Registers all resources. To add a resource, add its routes here and its named schemas to `apiSchemas`. */
export const api: FastifyPluginCallbackTypebox<ApiDependencies> = (app, dependencies, done) => {
  app.addHook('onRequest', authenticate(dependencies.authentication));
  app.addHook('onRoute', checkRoles);
  customerRoutes(app, dependencies);
  erasureRoutes(app, dependencies);
  findRoutes(app, dependencies);
  changesRoutes(app, dependencies);
  subjectExportRoutes(app, dependencies);
  syncRoutes(app, dependencies);
  mergeRoutes(app, dependencies);
  referenceRoutes(app, dependencies);
  exportRoutes(app, dependencies);
  importRoutes(app, dependencies);
  done();
};

/** The schemas that the routes refer to by name. */
export const apiSchemas = [
  ...customerRecordSchemas,
  ...erasureSchemas,
  ...changesSchemas,
  ...referenceSchemas,
  ...importSchemas,
  ...subjectExportSchemas,
  ...customerSchemas,
  ...envelopeSchemas,
];
