import { isBinary } from '../binary/embedded.ts';
import type { Services } from '../compose.ts';
import type { Config } from '../config.ts';
import { type Credentials, createDemoTenant, demoCurls } from './demo.ts';

/** The output of `serve` once it listens, as JSON and as text. */
export interface Greeting {
  readonly value: object;
  readonly text: string;
}

/** Creates the greeting. In the sandbox, first adds a demo tenant with an API key if there is no tenant. */
export async function greet(
  url: string,
  services: Pick<Services, 'tenants' | 'apiKeys'>,
  config: Config,
): Promise<Greeting> {
  const { environment, storage, databaseUrl, dataDir } = config;
  const place = storage === 'memory' ? 'in memory' : databaseUrl === '' ? `in ${dataDir}` : 'in PostgreSQL';
  const headline = `c2a-customers (${environment}) listens on ${url}, data ${place}; documentation: ${url}/docs`;
  if ((await services.tenants.list()).length > 0) return { value: { url, tenants: 'some' }, text: headline };
  if (environment === 'live') {
    return { value: { url, tenants: 'none' }, text: [headline, ...tenantAdvice(config)].join('\n') };
  }
  const credentials = await createDemoTenant(services, 'acme');
  return { value: { url, credentials }, text: [headline, ...demoAdvice(url, credentials)].join('\n') };
}

const demoAdvice = (url: string, credentials: Credentials): string[] => [
  '',
  `First start: added the tenant "${credentials['x-tn']}" with an API key, which is shown only once:`,
  '',
  `  ${credentials['x-api-key']}`,
  '',
  'Store, look up and erase a customer:',
  '',
  ...demoCurls(url, credentials),
  '',
];

function tenantAdvice({ environment, storage, databaseUrl, dataDir }: Config): string[] {
  if (storage === 'memory') return ['There is no tenant, and none can be added: commands cannot open memory storage.'];
  const program = isBinary ? 'c2a' : 'npm run -s c2a --';
  const options = [`--environment ${environment}`, ...(databaseUrl === '' ? [`--data-dir ${dataDir}`] : [])].join(' ');
  return [
    'There is no tenant yet. Add one and issue an API key:',
    `  ${program} tenant add <tenant> ${options}`,
    `  ${program} key issue <tenant> ${options}`,
  ];
}
