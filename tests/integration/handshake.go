// A handshake between Go and Go, each verified by the other. Arguments: none. Prints one line of JSON.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	own, err := tls.LoadX509KeyPair("svid.pem", "key.pem")
	if err != nil {
		return err
	}
	bundle, err := os.ReadFile("bundle.pem")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return errors.New("no roots")
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		return err
	}
	heard := make(chan any, 1)
	go func() {
		taken, err := listener.Accept()
		if err != nil {
			heard <- err.Error()
			return
		}
		connection := taken.(*tls.Conn)
		if err := connection.Handshake(); err != nil {
			heard <- err.Error()
			return
		}
		heard <- connection.ConnectionState().PeerCertificates[0].URIs[0].String()
		connection.Write([]byte("x"))
	}()
	verify := func(state tls.ConnectionState) error {
		// A SPIFFE ID is no host name: the chain and the purpose are verified here, and the name below.
		between := x509.NewCertPool()
		for _, each := range state.PeerCertificates[1:] {
			between.AddCert(each)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		return err
	}
	client, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{
		Certificates: []tls.Certificate{own}, InsecureSkipVerify: true, VerifyConnection: verify, MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		return err
	}
	if _, err := client.Read(make([]byte, 1)); err != nil {
		return err
	}
	server := client.ConnectionState().PeerCertificates[0].URIs[0].String()
	return json.NewEncoder(os.Stdout).Encode([]any{server, <-heard})
}
