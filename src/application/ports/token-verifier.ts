import type { TenantId } from '../../domain/identity.ts';
import type { JwtSettings } from './tenant-directory.ts';

/** Verifies bearer tokens (RFC 7519). */
export interface TokenVerifier {
  /**
   * Whether the token is signed by a key of the tenant's issuer with the configured algorithm, is within its validity
   * (`exp` is required; 30 s of clock skew), has the configured issuer and audience, and names this tenant in
   * `tenantClaim`. Never throws or waits for the issuer's host: new keys are fetched in the background.
   */
  verifies(token: string, tenant: TenantId, settings: JwtSettings): Promise<boolean>;
  /** Fetches the issuer's keys, unless they are fetched already. Also resolves if the fetch fails. */
  prepare(settings: JwtSettings): Promise<void>;
}
