import type { Environment } from './tenant-directory.ts';

/** Generates and parses API keys. Stores nothing. */
export interface ApiKeyFormat {
  /** A new API key: the environment's prefix, at least 190 random bits, and a checksum. */
  newApiKey(environment: Environment): string;
  /** The digest of a well-formed API key of this environment. Undefined for any other text, including mistyped keys. */
  apiKeyDigest(apiKey: string, environment: Environment): Uint8Array | undefined;
  /** A short random identifier that may appear in logs. */
  newId(): string;
}
