import type {
  ApiKey,
  Environment,
  JwtSettings,
  Role,
  Tenant,
  TenantDirectory,
} from '../../application/ports/tenant-directory.ts';
import type { TenantId } from '../../domain/identity.ts';
import type { SqlDatabase } from './driver/database.ts';
import type { Dialect } from './driver/dialects.ts';
import { compileQuery, compileWrite } from './driver/query.ts';
import type { Tables } from './schema/tables.ts';

/** Tenants and their API keys in SQL. */
export function createSqlTenants(database: SqlDatabase): TenantDirectory {
  const run = tenantStatements(database.dialect);

  return {
    addTenant: (tenant) =>
      database.write(function* () {
        return (yield* run.insertTenant(toTenantRow(tenant))) > 0;
      }),

    setTenant: (tenant) =>
      database.write(function* () {
        return (yield* run.updateTenant(toTenantRow(tenant))) > 0;
      }),

    findTenant: (id) =>
      database.read(function* () {
        const [row] = yield* run.findTenant({ tenant: id });
        return row && toTenant(row);
      }),

    listTenants: () =>
      database.read(function* () {
        return (yield* run.listTenants({})).map(toTenant);
      }),

    addKey: (key) =>
      database.write(function* () {
        const tenants = yield* run.findTenant({ tenant: key.tenant });
        if (tenants.length === 0) return false;
        yield* run.insertKey(toKeyRow(key));
        return true;
      }),

    listKeys: (tenant) =>
      database.read(function* () {
        const rows = tenant === undefined ? yield* run.listKeys({}) : yield* run.listKeysOf({ tenant });
        return rows.map(toKey);
      }),

    revokeKey: (id, now) =>
      database.write(function* () {
        yield* run.revokeKey({ id, now });
        const [row] = yield* run.findKeyById({ id });
        return row && toKey(row);
      }),

    expireKey: (id, expiresAt) =>
      database.write(function* () {
        yield* run.expireKey({ id, expiresAt });
        const [row] = yield* run.findKeyById({ id });
        return row && toKey(row);
      }),

    recordUse: (uses) =>
      database.write(function* () {
        for (const { tenant, id, requests, lastUsedAt } of uses) {
          yield* run.recordUse({ tenant, id, requests, lastUsedAt });
        }
      }),

    findKey: (tenant, digest) =>
      database.read(function* () {
        const [row] = yield* run.findKey({ tenant, digest });
        const [owner] = row === undefined ? [] : yield* run.findTenant({ tenant });
        return row && owner && { tenant: toTenant(owner), key: toKey(row) };
      }),
  };
}

export function tenantStatements({ builder }: Dialect) {
  const tenants = builder.selectFrom('tenants').selectAll();
  const keys = builder.selectFrom('api_keys').selectAll();

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
    insertKey: compileQuery((key: Tables['api_keys']) =>
      builder.insertInto('api_keys').values({
        tenant: key.tenant,
        key_id: key.key_id,
        digest: key.digest,
        prefix: key.prefix,
        name: key.name,
        role: key.role,
        environment: key.environment,
        created_at: key.created_at,
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
        last_used_at: key.last_used_at,
        requests: key.requests,
      }),
    ),
    listKeys: compileQuery((_: object) => keys.orderBy('created_at').orderBy('key_id')),
    listKeysOf: compileQuery((at: { tenant: string }) =>
      keys.where('tenant', '=', at.tenant).orderBy('created_at').orderBy('key_id'),
    ),
    findKey: compileQuery((at: { tenant: string; digest: Uint8Array }) =>
      keys.where('tenant', '=', at.tenant).where('digest', '=', at.digest),
    ),
    findKeyById: compileQuery((at: { id: string }) => keys.where('key_id', '=', at.id)),
    revokeKey: compileQuery((at: { id: string; now: number }) =>
      builder
        .updateTable('api_keys')
        .set({ revoked_at: at.now })
        .where('key_id', '=', at.id)
        .where('revoked_at', 'is', null),
    ),
    expireKey: compileQuery((at: { id: string; expiresAt: number }) =>
      builder
        .updateTable('api_keys')
        .set({ expires_at: at.expiresAt })
        .where('key_id', '=', at.id)
        .where('revoked_at', 'is', null)
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
