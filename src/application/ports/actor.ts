/** Who requested a write: the ids of the API key and of the request, which the access log also contains. */
export interface Actor {
  readonly keyId: string;
  readonly requestId: string;
}
