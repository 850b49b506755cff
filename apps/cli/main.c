#include <stdio.h>

#include "accllm/accllm.h"

int main(void)
{
    puts(accllm_version());
    return 0;
}
