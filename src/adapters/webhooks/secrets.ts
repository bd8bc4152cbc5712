import { randomBytes } from 'node:crypto';
import type { WebhookSecret, WebhookSecrets } from '../../application/ports/webhooks.ts';
import type { TenantId } from '../../domain/identity.ts';
import { apiKeyFormat } from '../crypto/api-key-format.ts';
import type { Vault } from '../crypto/vault.ts';

const secretBytes = 32;

/** Secrets of webhooks, sealed by the vault. */
export function createWebhookSecrets(vault: Pick<Vault, 'sealSecret' | 'openSecret'>): WebhookSecrets {
  return {
    newId: (kind) => `${kind}_${apiKeyFormat.newId()}`,
    newSecret: () => `whsec_${randomBytes(secretBytes).toString('base64')}`,
    seal: ({ tenant, id }, secrets) => vault.sealSecret(JSON.stringify(secrets), contextOf(tenant, id)),
    open: ({ tenant, id, sealedSecrets }) =>
      JSON.parse(vault.openSecret(sealedSecrets, contextOf(tenant, id))) as WebhookSecret[],
  };
}

/** Binds the secrets to their webhook, so that those of another one cannot be put in their place. */
const contextOf = (tenant: TenantId, id: string): string => JSON.stringify(['webhook', tenant, id]);
