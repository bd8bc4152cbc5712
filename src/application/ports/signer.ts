/** Signs statements of this deployment, such as erasure receipts, with Ed25519 (RFC 8032). */
export interface Signer {
  /** The signature of the UTF-8 bytes of a text: 64 bytes. */
  sign(text: string): Uint8Array;
  /** Whether a signature of a text was made with this key. False if its length is wrong. */
  verify(text: string, signature: Uint8Array): boolean;
  /** SHA-256 of the UTF-8 bytes of a text: 32 bytes. Without a key, so that anybody can compute it. */
  hash(text: string): Uint8Array;
  /** The key that verifies the signatures: 32 bytes. */
  readonly publicKey: Uint8Array;
}
