import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ApiOperation, OpenApi, Operation } from '../../scripts/openapi.ts';

/** The published description of the API. test/documents/current.test.ts compares it with the routes. */
export const openApi: OpenApi = JSON.parse(readFileSync(resolve(import.meta.dirname, '../../openapi.json'), 'utf8'));

export const everyOperation = Object.entries(openApi.paths).flatMap(([path, methods]) =>
  Object.entries(methods as Record<string, Operation>).map(([method, operation]) => ({ path, method, operation })),
);

/** The operations of the API: those that need credentials. */
export const operations = everyOperation
  .filter(({ operation }) => operation.security.length > 0)
  .map((one) => ({ ...one, operation: one.operation as ApiOperation }));
