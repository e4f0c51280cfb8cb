-- The action `lua.limit`: asks Escapement whether to pass a request on.
--
-- Reads txn.limit_tenant, txn.limit_client and txn.limit_action; sets txn.limit_status (0 if there was no
-- answer), and, if the answer has them, txn.limit_field, txn.limit_policy, txn.limit_retry and txn.limit_body. The rules in
-- haproxy.cfg decide what follows from that.

-- The section `escapement` of haproxy.cfg, which sets timeouts. Only the path of the URL matters.
local socket = "abns@escapement"
local url = "http://escapement/v1/auth"

local identity = {
    ["x-limit-tenant"] = "txn.limit_tenant",
    ["x-limit-client"] = "txn.limit_client",
    ["x-limit-action"] = "txn.limit_action",
}
local results = {
    ["ratelimit"] = "txn.limit_field",
    ["ratelimit-policy"] = "txn.limit_policy",
    ["retry-after"] = "txn.limit_retry",
}

core.register_action("limit", { "http-req" }, function(txn)
    local fields = {}
    for field, variable in pairs(identity) do
        fields[field] = { tostring(txn:get_var(variable)) }
    end
    local answer = core.httpclient():get({ url = url, dst = socket, headers = fields })
    txn:set_var("txn.limit_status", answer and answer.status or 0)
    if not answer or not answer.headers then
        return
    end
    for field, variable in pairs(results) do
        if answer.headers[field] then
            txn:set_var(variable, answer.headers[field][0])
        end
    end
    if answer.body then
        txn:set_var("txn.limit_body", (answer.body:gsub("%s+$", "")))
    end
end)
