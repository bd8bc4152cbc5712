/** `run-journey.mjs <baseUrl> <apiKey>` */
import { journey } from './journey.mjs';

const [baseUrl, apiKey] = globalThis.Deno?.args ?? globalThis.process.argv.slice(2);
console.log(JSON.stringify(await journey(baseUrl, apiKey)));
