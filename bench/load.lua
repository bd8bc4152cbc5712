-- The requests of wrk: `wrk -s load.lua <url> -- <load> <tenant> <API key> <first> <customers> <run>`.
-- The storage holds <customers> customers with the ExternalIds crm-1, crm-2, … and the URNs cu.00.1, cu.00.2, …. New
-- ExternalIds begin with <run>; deletions begin at the URN number <first>. `done` prints the results as one line of JSON.

local threads = 0

function setup(thread)
  thread:set("lane", threads)
  threads = threads + 1
end

local base = "/api/c2a/customer"
local headers, load, customers, hot, run
local sent = 0

local function post(route, body)
  return wrk.format("POST", base .. route, headers, body)
end

local function info(query)
  return wrk.format("GET", base .. "/info?" .. query, headers)
end

local region = '"claimedRegion":{"countryCode":"DE","languageCode":"de"}'

-- About 450 bytes, as a tenant's backend would send.
local function store()
  sent = sent + 1
  local id = run .. "-" .. lane .. "-" .. sent
  -- About one in a million is in use already.
  local phone = string.format("%09d", math.random(0, 999999999))
  return post("/store", '{"customer":{"externalIdentifier":"' .. id .. '","email":"jane.doe.' .. id
    .. '@example.com","phoneNumber":"+49170' .. phone .. '","salutation":"Frau Dr.","firstName":"Jane",'
    .. '"lastName":"Doe","gender":"Female","primaryBillingAddress":{"street":"Unter den Linden 77","city":"Berlin",'
    .. '"postalCode":"10117","countryCode":"DE"},"privacy":{"emailConsent":true,"smsConsent":false}},' .. region .. "}")
end

local function update()
  return post("/update", '{"customer":{"customerUrn":"cu.00.' .. math.random(customers) .. '","lastName":"Doe-'
    .. math.random(1000000) .. '"}}')
end

local function delete()
  local urn = first + sent * threadCount + lane
  sent = sent + 1
  return post("/delete", '{"customerUuid":"cu.00.' .. urn .. '"}')
end

local loads = {
  ["info-urn-hot"] = function() return info("urn=cu.00." .. math.random(hot)) end,
  ["info-urn-cold"] = function() return info("urn=cu.00." .. math.random(customers)) end,
  ["info-exid-hot"] = function() return info("exId=crm-" .. math.random(hot)) end,
  ["info-exid-cold"] = function() return info("exId=crm-" .. math.random(customers)) end,
  ["validate"] = function() return post("/validate", '{"externalId":"crm-' .. math.random(2 * customers) .. '"}') end,
  ["store"] = store,
  ["update"] = update,
  ["delete"] = delete,
  -- Nine reads for each write.
  ["mixed"] = function()
    local dice = math.random(20)
    if dice == 1 then return store() end
    if dice == 2 then return update() end
    return info("urn=cu.00." .. math.random(hot))
  end,
}

function init(args)
  local name, tenant, key = args[1], args[2], args[3]
  first, customers, run = tonumber(args[4]), tonumber(args[5]), args[6]
  hot = math.min(customers, 1000)
  threadCount = 1
  headers = { ["x-tn"] = tenant, ["x-api-key"] = key, ["content-type"] = "application/json" }
  math.randomseed(os.time() + lane)
  request = loads[name]
end

function done(summary, latency)
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50":%.3f,"p99":%.3f,"p999":%.3f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000))
end
