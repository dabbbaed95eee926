// An application as it should be: it keeps connections alive, says which release it is, and when it is told to end it
// closes those that wait and answers what it was asked.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	release := os.Getenv("PUSHLIVE_RELEASE")
	answer := func(writer http.ResponseWriter, _ *http.Request) { fmt.Fprint(writer, release) }
	http.HandleFunc("/", answer)
	http.HandleFunc("/slow", func(writer http.ResponseWriter, request *http.Request) {
		time.Sleep(2 * time.Second)
		answer(writer, request)
	})
	server := &http.Server{Addr: ":8080"}
	ended := make(chan error)
	told, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	go func() {
		<-told.Done()
		ended <- server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-ended
}
