/* The sampler's own exponential: the same bits on every machine, which libm does not promise. */
#ifndef ACC_SAMPLE_EXP_H
#define ACC_SAMPLE_EXP_H

/* e^x for x <= 0 in double, error below 1e-15 relative; 0 below -708. x must not be NaN. */
double acc_sample_exp(double x);

#endif
