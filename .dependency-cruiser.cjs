// One direction: domain <- application <- http, application <- adapters, and the roots know everybody.
// Each layer has an allow-list ("to anything but"), so that what nobody thought of is forbidden too.
// test/architecture/imports.test.ts plants a violation of every rule here.
//
// The parser is TypeScript's JavaScript API, which TypeScript 7 no longer has: the dev dependency `typescript`
// is version 6 under that name, for this tool alone; `tsc` is version 7 (`@typescript/native`). Without an API
// it would fall back to a parser that overlooks type-only imports.

const npm = (...names) => `(^|/)node_modules/(${names.join('|')})/`;
const fastify = ['fastify', '@fastify/[^/]+'];
const roots = '^src/(compose|index|main|ports)[.]ts$';
const process = '^src/process/';

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'domain-is-pure',
      comment: 'The domain imports only itself: no package, not even node:.',
      severity: 'error',
      from: { path: '^src/domain/' },
      to: { pathNot: '^src/domain/' },
    },
    {
      name: 'application-knows-only-domain',
      comment: 'Use cases and ports: no package, no node:.',
      severity: 'error',
      from: { path: '^src/application/' },
      to: { pathNot: '^src/(application|domain)/' },
    },
    {
      name: 'http-knows-only-application',
      comment:
        'HTTP asks the use cases; it has Fastify, TypeBox, content-type and node:, and never a database or an adapter.',
      severity: 'error',
      from: { path: '^src/http/' },
      to: {
        pathNot: [
          '^src/(http|application|domain)/',
          '^openapi[.]json$',
          npm(...fastify, '@sinclair/typebox', 'content-type'),
        ],
        dependencyTypesNot: ['core'],
      },
    },
    {
      name: 'adapters-know-only-application',
      comment: 'An adapter implements a port. It may use any package, but neither HTTP nor the configuration.',
      severity: 'error',
      from: { path: '^src/adapters/', pathNot: '^src/adapters/cli/' },
      to: {
        pathNot: ['^src/(adapters/(?!cli/)|application/|domain/)', npm('.+')],
        dependencyTypesNot: ['core'],
      },
    },
    {
      name: 'cli-knows-no-storage',
      comment: 'The command line calls the use cases, as HTTP does; it also reads the configuration.',
      severity: 'error',
      from: { path: '^src/adapters/cli/' },
      to: {
        pathNot: ['^src/(adapters/(?!sql/)|application/|domain/|binary/|config[.]ts$)', npm('.+')],
        dependencyTypesNot: ['core'],
      },
    },
    {
      name: 'adapters-know-no-fastify',
      severity: 'error',
      from: { path: '^src/adapters/' },
      to: { path: npm(...fastify) },
    },
    {
      name: 'sql-driver-knows-no-table',
      comment:
        'driver <- schema <- erasure, customers, ... <- maintenance. The driver runs queries; it knows no table.',
      severity: 'error',
      from: { path: '^src/adapters/sql/driver/' },
      to: { path: '^src/adapters/sql/(?!driver/)' },
    },
    {
      name: 'sql-schema-knows-only-driver',
      severity: 'error',
      from: { path: '^src/adapters/sql/schema/' },
      to: { path: '^src/adapters/sql/(?!driver/|schema/)' },
    },
    {
      name: 'sql-maintenance-is-on-top',
      comment: 'Backup, restore and transfer use the rest of the SQL adapter, and nothing there uses them.',
      severity: 'error',
      from: { path: '^src/adapters/sql/(?!maintenance/)' },
      to: { path: '^src/adapters/sql/maintenance/' },
    },
    {
      name: 'binary-stands-alone',
      comment: 'What only the single file needs: embedded assets and native addons.',
      severity: 'error',
      from: { path: '^src/binary/' },
      to: { pathNot: '^src/binary/', dependencyTypesNot: ['core'] },
    },
    {
      name: 'config-stands-alone',
      severity: 'error',
      from: { path: '^src/config[.]ts$' },
      to: {
        pathNot: ['^src/domain/', '^src/application/ports/', npm('@sinclair/typebox')],
        dependencyTypesNot: ['core'],
      },
    },
    {
      name: 'no-place-without-a-rule',
      comment: 'A new folder in src has no allow-list: give it one here first.',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot: ['^src/(domain|application|http|adapters|binary)/', '^src/config[.]ts$', process, roots],
      },
      to: {},
    },
    {
      name: 'src-stands-on-src',
      comment: 'What is shipped needs neither tests nor tools.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|bench|scripts)/' },
    },
    {
      name: 'client-stands-alone',
      comment: 'The client is a package of its own: it runs wherever there is `fetch`, without the service.',
      severity: 'error',
      from: { path: '^packages/client/src/' },
      to: { pathNot: ['^packages/client/src/', npm('openapi-fetch')] },
    },
    {
      name: 'no-dev-dependency',
      comment: 'What is shipped runs after `npm ci --omit=dev`. (Types are gone by then.)',
      severity: 'error',
      from: { path: '^(src|packages/client/src)/' },
      to: { dependencyTypes: ['npm-dev'], pathNot: npm('@types') },
    },
    { name: 'no-cycle', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    tsPreCompilationDeps: true, // type-only imports count
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
