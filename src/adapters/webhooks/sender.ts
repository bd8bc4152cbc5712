import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import { type ClientRequest, Agent as HttpAgent, request as httpRequest } from 'node:http';
// As a whole: the binary loads this module when it is first used.
import https from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { Webhook } from 'standardwebhooks';
import type { Environment } from '../../application/ports/tenant-directory.ts';
import type { SendResult, WebhookMessage, WebhookSender } from '../../application/ports/webhook-sender.ts';
import { addressRule } from './addresses.ts';

/** The specification recommends 15 to 30 seconds. */
const attemptTimeoutMs = 20_000;
const maxUrlLength = 2_048;

interface SenderOptions {
  /** Networks that are allowed although they are not on the internet; see `addressRule`. */
  readonly networks: string;
  /** `http` URLs are allowed only in the sandbox. */
  readonly environment: Environment;
  /** The time for a whole attempt. */
  readonly timeoutMs?: number;
  /** Resolves host names, like `dns.lookup`. */
  readonly lookup?: Lookup;
}

type OnAddresses = (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void;
type Lookup = (hostname: string, options: { readonly all: true }, answer: OnAddresses) => void;

/** Ends an attempt before anything is sent. */
class NotAllowed extends Error {}

/** Sends by Node's own HTTP client, one connection for each attempt, without proxies. */
export function createWebhookSender(options: SenderOptions): WebhookSender {
  const { networks, environment, timeoutMs = attemptTimeoutMs, lookup = systemLookup } = options;
  const kindOf = addressRule(networks);
  // Agents of our own: the global ones may use the proxies of environment variables.
  const httpAgent = new HttpAgent({ keepAlive: false });
  let httpsAgent: https.Agent | undefined;

  function refusalOf(text: string): string | undefined {
    if (text.length > maxUrlLength || !URL.canParse(text)) return `must be a URL of at most ${maxUrlLength} characters`;
    const { protocol, username, password, hostname } = new URL(text);
    if (protocol !== 'https:' && protocol !== 'http:') return 'must be an https URL';
    if (protocol === 'http:' && environment !== 'sandbox') return 'must be an https URL (http only in the sandbox)';
    if (username !== '' || password !== '') return 'must not contain a user name or password';
    const address = hostname.replace(/^\[|\]$/g, '');
    return isIP(address) > 0 ? refusedAddress(address) : undefined;
  }

  function refusedAddress(address: string): string | undefined {
    const kind = kindOf(address);
    return kind && `must not lead to ${address} (${kind}), unless C2A_WEBHOOK_NETWORKS allows it`;
  }

  const resolve = sharing(lookup);
  /** Passes on only the addresses that are allowed. A connection goes to one of these, without another look-up. */
  const checkedLookup: LookupFunction = (hostname, { all }, answer) => {
    resolve(hostname, (error, found) => {
      if (error) return answer(error, []);
      const allowed = found.filter(({ address }) => kindOf(address) === undefined);
      const [first] = allowed;
      if (first === undefined) return answer(new NotAllowed(refusedAddress(found[0]?.address ?? '')), []);
      return all ? answer(null, allowed) : answer(null, first.address, first.family);
    });
  };

  function open(url: URL, headers: Readonly<Record<string, string | number>>): ClientRequest {
    const options = { method: 'POST', headers, lookup: checkedLookup };
    if (url.protocol === 'http:') return httpRequest(url, { ...options, agent: httpAgent });
    httpsAgent ??= new https.Agent({ keepAlive: false });
    return https.request(url, { ...options, agent: httpsAgent });
  }

  return {
    refusalOf,
    async send(text, message, secrets, aborted) {
      const refusal = refusalOf(text);
      if (refusal !== undefined) return notAllowed(refusal);
      if (aborted.aborted) return abortedResult;
      const request = open(new URL(text), headersOf(message, secrets));
      const answered = resultOf(request, timeoutMs, aborted);
      request.end(message.body);
      return answered.finally(() => request.destroy());
    },
  };
}

/**
 * Attempts that need the same host name at the same time share one look-up. A look-up occupies one of the few threads of
 * Node's pool, for a long time if no name server answers.
 */
function sharing(lookup: Lookup): (hostname: string, answer: OnAddresses) => void {
  const waiting = new Map<string, OnAddresses[]>();
  return (hostname, answer) => {
    const others = waiting.get(hostname);
    if (others !== undefined) {
      others.push(answer);
      return;
    }
    const answers = [answer];
    waiting.set(hostname, answers);
    lookup(hostname, { all: true }, (error, addresses) => {
      waiting.delete(hostname);
      for (const one of answers) one(error, addresses);
    });
  };
}

const headersOf = ({ id, timestamp, body }: WebhookMessage, secrets: readonly string[]) => ({
  'content-type': 'application/json',
  'content-length': Buffer.byteLength(body),
  'user-agent': 'c2a-customers',
  'webhook-id': id,
  'webhook-timestamp': Math.floor(timestamp / 1000),
  'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, new Date(timestamp), body)).join(' '),
});

/** Waits for the head of the answer; what follows it is never read. */
function resultOf(request: ClientRequest, timeoutMs: number, aborted: AbortSignal): Promise<SendResult> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => finish(timeoutResult(timeoutMs)), timeoutMs);
    const onAbort = () => finish(abortedResult);
    function finish(result: SendResult): void {
      clearTimeout(timer);
      aborted.removeEventListener('abort', onAbort);
      resolve(result);
    }
    aborted.addEventListener('abort', onAbort);
    request.on('response', ({ statusCode = 0, headers }) => finish(answered(statusCode, headers['retry-after'])));
    // Also of what happens to the connection afterwards, when the result is known.
    request.on('error', (error) => finish(failed(error)));
    // Without a listener of `upgrade`, Node closes the connection after a 101.
    request.on('close', () => finish(connectionFailed('closed without an answer')));
  });
}

function answered(status: number, retryAfter: string | undefined): SendResult {
  const isSuccess = status >= 200 && status < 300;
  const isRedirect = status >= 300 && status < 400;
  return {
    outcome: isSuccess ? 'success' : 'refused',
    status,
    ...(retryAfter !== undefined && { retryAfter }),
    description: `answered ${status}${isRedirect ? ' (redirects are not followed)' : ''}`,
  };
}

/** Only the code of an error: its message may contain what the endpoint has sent, such as the names in a certificate. */
function failed(error: NodeJS.ErrnoException): SendResult {
  if (error instanceof NotAllowed) return notAllowed(error.message);
  return connectionFailed(/^[A-Z0-9_]{1,60}$/.test(error.code ?? '') ? (error.code as string) : 'no code');
}

const connectionFailed = (reason: string): SendResult => ({
  outcome: 'connection_failed',
  description: `connection failed: ${reason}`,
});
const notAllowed = (refusal: string): SendResult => ({ outcome: 'not_allowed', description: `the URL ${refusal}` });
const timeoutResult = (timeoutMs: number): SendResult => ({
  outcome: 'timeout',
  description: `no answer within ${timeoutMs / 1000} s`,
});
const abortedResult: SendResult = { outcome: 'aborted', description: 'ended by a shutdown' };
