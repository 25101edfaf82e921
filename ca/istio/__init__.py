"""The edge that Istio's agents and ztunnel ask: `istio.v1.auth.IstioCertificateService`."""
