/** Signs statements of this deployment, such as erasure receipts, with Ed25519 (RFC 8032). */
export interface Signer {
  /** The signature of the UTF-8 bytes of a text: 64 bytes. */
  sign(text: string): Uint8Array;
  /** The key that verifies the signatures: 32 bytes. */
  readonly publicKey: Uint8Array;
}
