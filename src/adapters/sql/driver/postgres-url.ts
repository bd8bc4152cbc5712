/** Which servers of a cluster a connection may use, in the terms of libpq (`target_session_attrs`). */
const accepts = {
  any: () => true,
  'read-write': ({ standby, readOnly }: Server) => !standby && !readOnly,
  primary: ({ standby }: Server) => !standby,
  'read-only': ({ standby, readOnly }: Server) => standby || readOnly,
  standby: ({ standby }: Server) => standby,
} as const;
export type Target = keyof typeof accepts;

interface Server {
  readonly standby: boolean;
  readonly readOnly: boolean;
}

export const isTarget = (target: Target, server: Server): boolean => accepts[target](server);

export interface ParsedUrl {
  /** One URL for each host. */
  readonly urls: readonly string[];
  readonly target?: Target;
}

/**
 * Splits a URL with several hosts, as libpq accepts it. Removes the parameter `target_session_attrs`, because the
 * connection pool checks it. Throws if the text is not a PostgreSQL URL.
 */
export function parseUrl(url: string): ParsedUrl {
  // `URL` cannot parse more than one host.
  const [, head = '', hosts = '', tail = ''] = /^(postgres(?:ql)?:\/\/(?:[^@/?]*@)?)([^/?]*)(.*)$/s.exec(url) ?? [];
  if (head === '') throw new Error('must begin with postgres://');
  const [path = '', query = ''] = tail.split('?');
  const parameters = new URLSearchParams(query);
  const target = parameters.get('target_session_attrs');
  if (target !== null && !Object.hasOwn(accepts, target)) {
    throw new Error(`target_session_attrs must be one of ${Object.keys(accepts).join(', ')}`);
  }
  parameters.delete('target_session_attrs');
  const rest = parameters.size === 0 ? path : `${path}?${parameters}`;
  const urls = hosts.split(',').map((host) => head + host + rest);
  if (!urls.every((one) => URL.canParse(one)))
    throw new Error('must look like postgres://user:password@host:5432/database');
  return { urls, ...(target !== null && { target: target as Target }) };
}
