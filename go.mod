module proxycast

go 1.25.0
