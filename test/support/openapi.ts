import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { OpenApi } from '../../scripts/openapi.ts';

/** The published description of the API. test/documents/current.test.ts compares it with the routes. */
export const openApi: OpenApi = JSON.parse(readFileSync(resolve(import.meta.dirname, '../../openapi.json'), 'utf8'));

export const operations = Object.entries(openApi.paths).flatMap(([path, methods]) =>
  Object.entries(methods).flatMap(([method, operation]) => (operation ? [{ path, method, operation }] : [])),
);
