module evenkeel.dev/tests/app

go 1.26
