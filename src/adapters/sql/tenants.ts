import type {
  ApiKey,
  Environment,
  JwtSettings,
  KeyUse,
  Role,
  Tenant,
  TenantDirectory,
} from '../../application/ports/tenant-directory.ts';
import type { TenantId } from '../../domain/identity.ts';
import { compileQuery, compileWrite, type Routine } from './driver/query.ts';
import type { Dialect, SqlDatabase } from './schema/database.ts';
import type { Tables } from './schema/tables.ts';

/** Tenants and their API keys in SQL. */
export function createSqlTenants(database: SqlDatabase): TenantDirectory {
  const { read, write } = database;
  const run = tenantQueries(database.dialect);
  const changeKey = (id: string, change: () => Routine<unknown>) =>
    write(function* () {
      yield* change();
      const [row] = yield* run.findKeyById({ id });
      return row && toKey(row);
    });

  return {
    addTenant: async (tenant) => (await write(() => run.insertTenant(toTenantRow(tenant)))) > 0,
    setTenant: async (tenant) => (await write(() => run.updateTenant(toTenantRow(tenant)))) > 0,
    findTenant: async (tenant) => (await read(() => run.findTenant({ tenant }))).map(toTenant)[0],
    listTenants: async () => (await read(() => run.listTenants({}))).map(toTenant),
    addKey: (key) =>
      write(function* () {
        const tenants = yield* run.findTenant({ tenant: key.tenant });
        if (tenants.length > 0) yield* run.insertKey(toKeyRow(key));
        return tenants.length > 0;
      }),
    listKeys: async (tenant) =>
      (await read(() => (tenant === undefined ? run.listKeys({}) : run.listKeysOf({ tenant })))).map(toKey),
    revokeKey: (id, now) => changeKey(id, () => run.revokeKey({ id, now })),
    expireKey: (id, expiresAt) => changeKey(id, () => run.expireKey({ id, expiresAt })),
    recordUse: (uses) =>
      write(function* () {
        for (const { tenant, id, requests, lastUsedAt } of inLockOrder(uses)) {
          yield* run.recordUse({ tenant, id, requests, lastUsedAt });
        }
      }),
    findKey: (tenant, digest) =>
      read(function* () {
        const [row] = yield* run.findKey({ tenant, digest });
        const [owner] = row === undefined ? [] : yield* run.findTenant({ tenant });
        return row && owner && { tenant: toTenant(owner), key: toKey(row) };
      }),
  };
}

/** Every process locks the rows in the same order: two that lock them in different orders deadlock on PostgreSQL. */
const inLockOrder = (uses: readonly KeyUse[]): readonly KeyUse[] => {
  const place = ({ tenant, id }: KeyUse) => `${tenant} ${id}`;
  return [...uses].sort((one, other) => (place(one) < place(other) ? -1 : 1));
};

const keyColumns = [
  ...(['tenant', 'key_id', 'digest', 'prefix', 'name', 'role', 'environment'] as const),
  ...(['created_at', 'expires_at', 'revoked_at', 'last_used_at', 'requests'] as const),
];

export function tenantQueries({ builder }: Dialect) {
  const tenants = builder.selectFrom('tenants').selectAll();
  const keys = builder.selectFrom('api_keys').selectAll();
  const unrevoked = (id: string) =>
    builder.updateTable('api_keys').where('key_id', '=', id).where('revoked_at', 'is', null);
  return {
    insertTenant: compileWrite(({ tenant, name, payment, jwt, created_at }: Tables['tenants']) =>
      builder
        .insertInto('tenants')
        .values({ tenant, name, payment, jwt, created_at })
        .onConflict((on) => on.doNothing()),
    ),
    updateTenant: compileWrite(({ tenant, name, payment, jwt }: Tables['tenants']) =>
      builder.updateTable('tenants').set({ name, payment, jwt }).where('tenant', '=', tenant),
    ),
    findTenant: compileQuery((at: { tenant: string }) => tenants.where('tenant', '=', at.tenant)),
    listTenants: compileQuery((_: object) => tenants.orderBy('tenant')),
    insertKey: compileQuery((key: Tables['api_keys']) => {
      const row = Object.fromEntries(keyColumns.map((column) => [column, key[column]]));
      return builder.insertInto('api_keys').values(row as unknown as Tables['api_keys']);
    }),
    listKeys: compileQuery((_: object) => keys.orderBy('created_at').orderBy('key_id')),
    listKeysOf: compileQuery((at: { tenant: string }) =>
      keys.where('tenant', '=', at.tenant).orderBy('created_at').orderBy('key_id'),
    ),
    findKey: compileQuery((at: { tenant: string; digest: Uint8Array }) =>
      keys.where('tenant', '=', at.tenant).where('digest', '=', at.digest),
    ),
    findKeyById: compileQuery((at: { id: string }) => keys.where('key_id', '=', at.id)),
    revokeKey: compileQuery((at: { id: string; now: number }) => unrevoked(at.id).set({ revoked_at: at.now })),
    expireKey: compileQuery((at: { id: string; expiresAt: number }) =>
      unrevoked(at.id)
        .set({ expires_at: at.expiresAt })
        .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', at.expiresAt)])),
    ),
    recordUse: compileQuery((use: { tenant: string; id: string; requests: number; lastUsedAt: number }) =>
      builder
        .updateTable('api_keys')
        .set((set) => ({
          requests: set('requests', '+', use.requests),
          // Another process may have recorded a later use.
          last_used_at: set
            .case()
            .when('last_used_at', '>', use.lastUsedAt)
            .then(set.ref('last_used_at'))
            .else(use.lastUsedAt)
            .end(),
        }))
        .where('tenant', '=', use.tenant)
        .where('key_id', '=', use.id),
    ),
  };
}

const toTenantRow = ({ id, name, payment, jwt, createdAt }: Tenant): Tables['tenants'] => ({
  tenant: id,
  name: name ?? null,
  payment: JSON.stringify(payment),
  jwt: jwt === undefined ? null : JSON.stringify(jwt),
  created_at: createdAt,
});

const toTenant = ({ tenant, name, payment, jwt, created_at }: Tables['tenants']): Tenant => ({
  id: tenant as TenantId,
  ...(name !== null && { name }),
  payment: JSON.parse(payment) as Tenant['payment'],
  ...(jwt !== null && { jwt: JSON.parse(jwt) as JwtSettings }),
  createdAt: created_at,
});

const toKeyRow = ({ id, createdAt, expiresAt, revokedAt, lastUsedAt, ...key }: ApiKey): Tables['api_keys'] => ({
  ...key,
  key_id: id,
  created_at: createdAt,
  expires_at: expiresAt ?? null,
  revoked_at: revokedAt ?? null,
  last_used_at: lastUsedAt ?? null,
});

const toKey = ({ key_id, created_at, expires_at, revoked_at, last_used_at, ...row }: Tables['api_keys']): ApiKey => ({
  ...row,
  id: key_id,
  tenant: row.tenant as TenantId,
  role: row.role as Role,
  environment: row.environment as Environment,
  createdAt: created_at,
  ...(expires_at !== null && { expiresAt: expires_at }),
  ...(revoked_at !== null && { revokedAt: revoked_at }),
  ...(last_used_at !== null && { lastUsedAt: last_used_at }),
});
