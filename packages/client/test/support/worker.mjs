/** The journey as a module of workerd, the runtime of Cloudflare Workers. */
import { journey } from './journey.mjs';

export default {
  async fetch(request) {
    const { searchParams } = new URL(request.url);
    return Response.json(await journey(searchParams.get('baseUrl'), searchParams.get('apiKey')));
  },
};
