/** Which IP addresses a webhook may be delivered to. */
import { BlockList, isIP } from 'node:net';

type Network = readonly [address: string, prefix: number];

/** IPv4 networks that are not on the internet (IANA's registry of special-purpose addresses), and metadata services. */
const special4: Readonly<Record<string, readonly Network[]>> = {
  'this host': [['0.0.0.0', 8]],
  private: [
    ['10.0.0.0', 8],
    ['172.16.0.0', 12],
    ['192.168.0.0', 16],
  ],
  'shared (carrier-grade NAT)': [['100.64.0.0', 10]],
  loopback: [['127.0.0.0', 8]],
  'link-local, with the metadata services of clouds': [['169.254.0.0', 16]],
  'metadata service': [['168.63.129.16', 32]],
  'reserved for protocols': [['192.0.0.0', 24]],
  documentation: [
    ['192.0.2.0', 24],
    ['198.51.100.0', 24],
    ['203.0.113.0', 24],
  ],
  '6to4 relay': [['192.88.99.0', 24]],
  benchmark: [['198.18.0.0', 15]],
  multicast: [['224.0.0.0', 4]],
  reserved: [['240.0.0.0', 4]],
};

/** IPv6: only global unicast addresses are allowed, without these, of which some contain an IPv4 address. */
const global6: Network = ['2000::', 3];
const special6: Readonly<Record<string, readonly Network[]>> = {
  'reserved for protocols, such as Teredo': [['2001::', 23]],
  documentation: [
    ['2001:db8::', 32],
    ['3fff::', 20],
  ],
  '6to4': [['2002::', 16]],
};

/**
 * Makes the rule for addresses.
 *
 * @param networks addresses and networks that are allowed nevertheless: `off`, or a list such as `10.0.0.0/8,::1`
 * @returns a function that returns the kind of an address that is not allowed, undefined for one that is. It takes the
 *   text of an address; any other text is not allowed.
 */
export function addressRule(networks: string): (address: string) => string | undefined {
  const allowed = new BlockList();
  for (const network of networks === 'off' ? [] : networks.split(',')) {
    const [address = '', prefix] = network.split('/');
    const type = familyOf(address);
    allowed.addSubnet(address, Number(prefix ?? (type === 'ipv4' ? 32 : 128)), type);
  }
  return (address) => {
    if (isIP(address) === 0) return 'no address';
    const type = familyOf(address);
    if (allowed.check(address, type)) return undefined;
    if (type === 'ipv4') return kindIn(ipv4Lists, address);
    if (!global.check(address, 'ipv6')) return 'not a global unicast address';
    return kindIn(ipv6Lists, address);
  };
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4');

function listsOf(special: Readonly<Record<string, readonly Network[]>>, type: 'ipv4' | 'ipv6') {
  return Object.entries(special).map(([kind, networks]) => ({ kind, type, list: listOf(networks, type) }));
}

function listOf(networks: readonly Network[], type: 'ipv4' | 'ipv6'): BlockList {
  const list = new BlockList();
  for (const [address, prefix] of networks) list.addSubnet(address, prefix, type);
  return list;
}

const ipv4Lists = listsOf(special4, 'ipv4');
const ipv6Lists = listsOf(special6, 'ipv6');
const global = listOf([global6], 'ipv6');

const kindIn = (lists: ReturnType<typeof listsOf>, address: string): string | undefined =>
  lists.find(({ list, type }) => list.check(address, type))?.kind;
